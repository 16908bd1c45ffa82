"""Frameworks stay at the edge: protobuf and gRPC in three kinds of file, SQL in two (import-linter has the rest)."""

from __future__ import annotations

from tests.architecture.tree import Module, imported, modules, of_each

WIRE = {"capsule_api", "google", "grpc", "grpc_health", "grpc_reflection", "grpc_status"}
SQL = {"alembic", "psycopg", "sqlalchemy", "sqlite3", "sqlmodel"}

# The doctor looks at what the store would not open, and asks whoever runs.
DOCTOR = {"capsule_services.doctor.place", "capsule_services.doctor.reach"}


def worlds(module: Module, frameworks: set[str]) -> list[str]:
    return [f"line {line}: {name}" for name, line in imported(module) if name.split(".")[0] in frameworks]


def speaks_the_wire(module: Module) -> bool:
    parts = module.name.split(".")
    return parts[-1] in {"convert", "servicer", "__main__"} or parts[1:2] in (["runtime"], ["demo"])


@of_each(lambda: [each for each in modules() if not speaks_the_wire(each) and each.name not in DOCTOR])
def test_only_convert_servicer_and_runtime_speak_the_wire(module: Module) -> None:
    assert worlds(module, WIRE) == []


@of_each(lambda: [each for each in modules() if not each.name.startswith("capsule_sql")])
def test_only_the_store_speaks_sql(module: Module) -> None:
    if not module.name.endswith(".store") and module.name not in DOCTOR:
        assert worlds(module, SQL) == []
