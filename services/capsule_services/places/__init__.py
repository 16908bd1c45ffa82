"""Places outside a deployment that keep what it must not lose: folders, and object stores that speak S3."""
