"""Checkpoints of the logs of a service, and proofs about them."""
