"""Erasures over every holder, version 1."""
