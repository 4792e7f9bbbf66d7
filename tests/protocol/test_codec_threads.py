"""Documents are read by several threads at once, the very first of each type included."""

from __future__ import annotations

import subprocess
import sys

_MANY_FIRST_READERS = """
import contextlib, sys, threading
sys.setswitchinterval(1e-6)
from sealmarket.protocol import wire
from sealmarket_enclave.protocol import codec, job, policy
from sealmarket_enclave.protocol.errors import MalformedDocument

found = [kind for module in (wire, policy, job) for kind in vars(module).values()]
for kind in [kind for kind in found if isinstance(kind, type) and issubclass(kind, codec.Shape)]:
    begin = threading.Barrier(4)

    def read():
        begin.wait()
        for _ in range(3):
            with contextlib.suppress(MalformedDocument):
                codec.decode(kind, b'{"a":1}')
            with contextlib.suppress(MalformedDocument):
                codec.from_builtins(kind, {"version": 1})

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
"""


def test_threads_that_read_the_first_document_of_a_type_together_do_not_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _MANY_FIRST_READERS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
