"""Users: inviting, changing and removing them."""
