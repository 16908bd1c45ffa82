"""How long contacts are kept: policies, what they will do, and why somebody is still here."""
