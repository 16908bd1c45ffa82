"""Saved lists: who was found to be stale, reviewed and acted on as they were found."""
