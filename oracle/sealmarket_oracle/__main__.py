"""``python -m sealmarket_oracle run --config FILE``: the same commands without the ``sealmarket`` command."""

from sealmarket.cli.main import run
from sealmarket_oracle.cli import app

run(app, name="sealmarket oracle")
