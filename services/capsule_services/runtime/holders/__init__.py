"""The holder contract on the wire: every service answers it, the privacy service calls it."""
