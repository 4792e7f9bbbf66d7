"""Triggers that write down what changed, and how the index's changes are undone.

:mod:`sealmarket_backend.undo` and :mod:`sealmarket_backend.changes` use what they wrote.

An inserted row is undone by its key, a changed one by the old values of the columns that the index changes. The index
deletes nothing of these tables while it records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sealmarket_backend.database.schema import metadata

FOLLOWED: dict[str, tuple[str, ...]] = {
    "assets": ("owner", "seal", "terms", "terms_version", "revoked", "suspended"),
    "jobs": ("status", "facts", "settled_at"),
    "interruptions": ("stopped", "excluded", "posted", "shares_deadline", "settle_deadline", "returned"),
    "unreadable": ("reason",),
    "requests": ("state", "explanation", "job_id"),
    "compute_orders": ("state",),
}
"""The tables that the index changes, and the columns of each that it changes in rows that are there."""


CHANGING = (
    ("requests", "requests", "request_hash", "state"),
    ("compute-orders", "compute_orders", "order_hash", "state"),
    ("asset-orders", "asset_orders", "order_hash", "state"),
    ("jobs", "jobs", "job_id", "status"),
)
"""Topic, table, and the columns of subject and state, of what is written into ``changes``."""
GONE = "gone"
"""The state of what a reorganisation took away, and of an order that was over and left the tables."""
KEPT = 10_000
"""Lines of ``changes`` that stay, at least; a multiple of it is looked at now and then."""


def triggers(kind: str) -> Iterator[str]:
    """Statements that make them anew, in SQLite's or PostgreSQL's words."""
    made = _change_of_sqlite if kind == "sqlite" else _change_of_postgres
    for topic, table, subject, state in CHANGING:
        written = f"INSERT INTO changes (topic, subject, state) VALUES ('{topic}', "  # noqa: S608 - names are ours
        new = f"{written}NEW.{subject}, CAST(NEW.{state} AS TEXT))"
        yield from made(table, "INSERT", "INSERT", "", new)
        yield from made(table, "UPDATE", f"UPDATE OF {state}", f"WHEN (NEW.{state} <> OLD.{state})", new)
        yield from made(table, "DELETE", "DELETE", "", f"{written}OLD.{subject}, '{GONE}')")
    forgotten = f"DELETE FROM changes WHERE id <= NEW.id - {KEPT}"  # noqa: S608 - ours
    yield from made("changes", "KEEP", "INSERT", f"WHEN (NEW.id % {KEPT} = 0)", forgotten)
    for table, columns in FOLLOWED.items():
        key = [column.name for column in metadata.tables[table].primary_key.columns]
        yield from (_of_sqlite if kind == "sqlite" else _of_postgres)(table, key, columns)


def _change_of_sqlite(table: str, name: str, action: str, when: str, statement: str) -> Iterator[str]:
    name = f"change_{name.lower()}_{table}"
    yield f"DROP TRIGGER IF EXISTS {name}"
    yield f"CREATE TRIGGER {name} AFTER {action} ON {table} {when} BEGIN {statement}; END"


def _change_of_postgres(table: str, name: str, action: str, when: str, statement: str) -> Iterator[str]:
    name = f"change_{name.lower()}_{table}"
    yield (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" {statement}; RETURN NULL; END $$"
    )
    yield (f"CREATE OR REPLACE TRIGGER {name} AFTER {action} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION {name}()")


def _of_sqlite(table: str, key: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    for action, statement in (
        ("INSERT", f"'DELETE FROM {table} WHERE ' || {_pairs(key, 'NEW', ' AND ')}"),  # noqa: S608 - names are ours
        ("UPDATE", f"'UPDATE {table} SET ' || {_pairs(columns, 'OLD', ', ')}"  # noqa: S608 - names are ours
                   f" || ' WHERE ' || {_pairs(key, 'OLD', ' AND ')}"),
    ):  # fmt: skip
        name = f"undo_{action}_{table}"
        yield f"DROP TRIGGER IF EXISTS {name}"
        yield (
            f"CREATE TRIGGER {name} AFTER {action} ON {table} WHEN EXISTS (SELECT 1 FROM recording) BEGIN"  # noqa: S608
            f" INSERT INTO undo (block, statement) SELECT block, {statement} FROM recording; END"
        )


def _pairs(names: Sequence[str], row: str, between: str) -> str:
    """An expression whose value is ``a=1, b=X'00'``."""
    return f" || '{between}' || ".join(f"'{name}=' || quote({row}.{name})" for name in names)


def _of_postgres(table: str, key: Sequence[str], columns: Sequence[str]) -> Iterator[str]:
    where = " AND ".join(f"{name} = %L" for name in key)
    assigned = ", ".join(f"{name} = %L" for name in columns)
    made = {
        "INSERT": (f"DELETE FROM {table} WHERE {where}", [f"NEW.{name}" for name in key]),  # noqa: S608 - names are ours
        "UPDATE": (
            f"UPDATE {table} SET {assigned} WHERE {where}",  # noqa: S608 - names are ours
            [*(f"OLD.{name}" for name in columns), *(f"OLD.{name}" for name in key)],
        ),
    }
    for action, (statement, values) in made.items():
        name = f"undo_{action.lower()}_{table}"
        yield (
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"  # noqa: S608 - ours
            f" INSERT INTO undo (block, statement) SELECT block, format('{statement}', {', '.join(values)})"
            " FROM recording; RETURN NULL; END $$"
        )
        yield f"CREATE OR REPLACE TRIGGER {name} AFTER {action} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
