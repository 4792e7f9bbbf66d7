"""``python -m sealmarket_oracle run --config FILE``: the same commands without the ``sealmarket`` command."""

from sealmarket_oracle.cli import app

app()
