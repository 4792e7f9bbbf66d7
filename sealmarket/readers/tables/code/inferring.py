"""What a file of its owner holds: placeholder."""
from __future__ import annotations
from typing import Any
def infer(data: memoryview, stated: dict[str, Any]) -> dict[str, Any]:
    raise NotImplementedError
