"""``python -m sealmarket_worker``: the same as ``sealmarket worker``."""

from sealmarket_worker.cli import app

app()
