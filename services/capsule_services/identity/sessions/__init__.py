"""Sessions: signing in and out."""
