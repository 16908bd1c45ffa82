"""Erasures over every holder."""
