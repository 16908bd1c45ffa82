"""The chassis of every service: what stands between the wire and a handler, and knows no service."""
