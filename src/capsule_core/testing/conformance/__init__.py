"""The conformance suites: a function per port, called with what makes an adapter (docs/reference/ports.md)."""
