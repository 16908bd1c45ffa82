"""Backups: what they are made of, how one is made, checked and put back."""
