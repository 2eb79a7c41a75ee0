"""The one compiled pass over raw bytes, and what loads it."""
