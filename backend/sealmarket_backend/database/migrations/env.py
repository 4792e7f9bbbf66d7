"""Alembic's way in: runs the steps on the connection, and in the transaction, of :mod:`..migrate`. Elsewhere it does
nothing: only Alembic gives it a configuration."""

from alembic import context

if (config := getattr(context, "config", None)) is not None:
    context.configure(connection=config.attributes["connection"], transactional_ddl=False)
    context.run_migrations()
