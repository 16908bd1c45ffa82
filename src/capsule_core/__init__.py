"""The domain: pure rules for keeping, giving out and destroying personal data."""
