"""What all tests share."""

from hypothesis import settings

pytest_plugins = ["fixtures_opensearch"]

settings.register_profile("logad", deadline=None)  # no test asserts how long anything takes
settings.load_profile("logad")
