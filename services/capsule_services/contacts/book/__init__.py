"""The address book itself: contacts."""
