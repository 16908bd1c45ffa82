"""The wire: messages and stubs generated from `protos/`."""
