"""Jobs: what the commands do, as functions that Python callers share."""
