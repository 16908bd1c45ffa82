"""Invitations: how somebody becomes a user."""
