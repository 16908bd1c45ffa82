"""The policy that every method carries, version 1."""
