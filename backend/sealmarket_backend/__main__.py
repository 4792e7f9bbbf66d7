"""``python -m sealmarket_backend``: the same as ``sealmarket backend``."""

from sealmarket_backend.cli import app

app()
