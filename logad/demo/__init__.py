"""The generated system of `logad demo`."""
