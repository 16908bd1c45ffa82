"""Imports, exports and print summaries."""
