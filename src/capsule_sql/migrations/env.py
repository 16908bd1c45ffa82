"""Run by Alembic: the connection and the role come from whoever calls it."""

from __future__ import annotations

from alembic import context

from capsule_sql.schema import TABLES, RecordRow

role = context.config.attributes["role"]
tables = {model.__tablename__ for model in TABLES[role.folder]}


def is_of_this_role(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    return kind != "table" or name in tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=RecordRow.metadata,
    include_object=is_of_this_role,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
