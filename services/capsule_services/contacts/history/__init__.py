"""The communication history of contacts."""
