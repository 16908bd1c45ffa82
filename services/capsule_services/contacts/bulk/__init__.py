"""Many contacts at once: thrown away together, and taken back as one."""
