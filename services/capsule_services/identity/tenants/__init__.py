"""Tenants: signing up, and what was accepted."""
