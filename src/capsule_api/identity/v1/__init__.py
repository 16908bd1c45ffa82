"""Tenants, users and sign-in, version 1."""
