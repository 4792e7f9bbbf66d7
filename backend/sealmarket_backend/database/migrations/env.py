"""Alembic's way in: runs the steps on the connection, and in the transaction, of :mod:`..migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
