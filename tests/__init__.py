"""The tests; README.md says where each one goes."""
