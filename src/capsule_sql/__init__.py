"""The store: the ports of the domain on SQLModel and SQLAlchemy."""
