"""The journal of a service at a place outside the machine: shipped there, compacted there, and fetched from there."""
