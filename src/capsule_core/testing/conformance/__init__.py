"""The conformance suites: one function per port, which an adapter calls with what makes it (docs/reference/ports.md)."""
