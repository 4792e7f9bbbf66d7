"""``python -m sealmarket_backend``: the same as ``sealmarket backend``."""

from sealmarket.cli.main import run
from sealmarket_backend.cli import app

run(app, name="sealmarket backend")
