"""Giving an account up, taking that back, and keeping some of it on a ground."""
