"""What every holder of personal data can do."""
