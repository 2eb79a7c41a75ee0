"""How logs are written: lines, envelopes, timestamps, headers, records of several lines."""
