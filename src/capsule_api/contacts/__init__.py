"""Contacts and their history."""
