"""The policy that every method carries."""
