"""logad finds what is abnormal in logs, without labels, and says so in words."""

__version__ = "0.1.0"
