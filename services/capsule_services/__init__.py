"""The servers and the `capsule` command."""
