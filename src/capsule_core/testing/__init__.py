"""The published test kit: strategies for values of the domain, and the conformance suites of its ports."""
