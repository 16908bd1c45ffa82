"""What every holder of personal data can do, version 1."""
