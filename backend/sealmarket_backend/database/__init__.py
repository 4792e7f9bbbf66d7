"""The backend's tables, in a SQLite file or in a PostgreSQL: schema, connections, migrations, notices, leadership."""
