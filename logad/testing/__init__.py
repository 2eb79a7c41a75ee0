"""The contract suites, shipped for people who write plug-ins."""
