"""``python -m sealmarket_worker``: the same as ``sealmarket worker``."""

from sealmarket.cli.main import run
from sealmarket_worker.cli import app

run(app, name="sealmarket worker")
