"""Sinks: one file per store of verdicts."""
