"""Two parts of logad that are installed beside it."""
