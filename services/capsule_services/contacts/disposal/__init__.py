"""Destroying at once what is in the trash."""
