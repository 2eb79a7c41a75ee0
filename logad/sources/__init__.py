"""Sources: one file per place that logs come from."""
