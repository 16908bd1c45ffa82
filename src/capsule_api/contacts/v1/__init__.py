"""Contacts and their history, version 1."""
