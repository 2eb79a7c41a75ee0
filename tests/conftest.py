pytest_plugins = ["fixtures_opensearch"]
