"""Tenants, users and sign-in."""
