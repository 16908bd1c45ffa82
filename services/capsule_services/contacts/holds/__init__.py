"""Holds: what must not be destroyed, on whose authority and why."""
