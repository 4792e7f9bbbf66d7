"""Serve with a workload of kind session on this machine as an enclave does: its sandbox, its limits; no market, no key.

One process, as for one account (docs/spec/session.md, "Workload"), with the workload's locked dependencies alone. A
stand-in (:mod:`.inside_session`) takes the place of the entry point in a private copy, so that the author sees an
error's text. The thread that makes a session must live until it is closed.
"""

from __future__ import annotations

import json
import select
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from msgspec import UNSET

from sealmarket.workloads import inside_session
from sealmarket_enclave.protocol.errors import SealmarketError
from sealmarket_enclave.sandbox.model import STRICT
from sealmarket_enclave.sandbox.process import Input, Launch
from sealmarket_enclave.sandbox.session import Done, Event, Happened, SessionProcess, SharedInputs
from sealmarket_enclave.workload.bundle import CODE, Bundle
from sealmarket_enclave.workload.environment import take
from sealmarket_enclave.workload.manifest import Value

_MODULE = "sealmarket_trial"
_LOOK_SECONDS = 0.5


class SessionFailed(SealmarketError):
    """The workload ended, or ran out of its time, while it served; ``text`` is its own error."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"expected an entry point that serves until its requests end, found: {text.strip() or 'no message'}",
            remedy="mend the workload; docs/spec/session.md (Workload) says what an entry point is given",
        )
        self.text = text


class LocalSession:
    """A workload that serves, as a context manager.

    Args:
        environment: its installed dependencies; each byte is compared with its hash.
        inputs: the bytes of each input.
        parameters: complete, as ``manifest.check_parameters`` gives them.

    Raises:
        EnvironmentRefused: a dependency is not the locked one.
        SandboxUnavailable: this machine cannot confine a workload.
        SessionFailed: it ended before it was ready.
    """

    def __init__(
        self, bundle: Bundle, environment: Path, inputs: Mapping[str, Input], parameters: Mapping[str, Value]
    ) -> None:
        manifest = bundle.manifest
        if manifest.session is UNSET:
            raise ValueError(f"{manifest.name} is of kind {manifest.kind}, expected session")
        self.used: Done | None = None
        self._seconds = manifest.session.request_seconds
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealmarket-session-")))
            take(environment, bundle.environment, folder / "environment")
            bundle.write(folder / "bundle")
            _stand_in(folder / "bundle" / CODE, manifest.entry_point)
            shared = SharedInputs(inputs)
            stack.callback(shared.close)
            launch = Launch(
                bundle_dir=folder / "bundle",
                environment_dir=folder / "environment",
                entry_point=f"{_MODULE}:serve",
                limits=manifest.limits,
                parameters=parameters,
                profile=STRICT,
                service=True,
            )
            self._process = SessionProcess(launch, shared)
            stack.callback(self._process.close)
            self._folder = folder
            self._await_loaded(manifest.limits.wall_seconds)
            self._stack = stack.pop_all()

    def ask(self, endpoint: str, body: bytes, most_units: int) -> Iterator[bytes]:
        """Bytes of the response, as the workload sends them; :attr:`used` is there when they end.

        Raises:
            SessionFailed: the workload ended, or took longer than a request may.
        """
        self.used = None
        self._process.give(endpoint, most_units, body)
        for happened in self._events(self._seconds):
            if happened.event is Event.SENT:
                yield happened.data
            elif happened.done is not None:
                if (text := happened.done.engine.get(inside_session.FAILED)) is not None:
                    raise SessionFailed(str(text).replace(f"{self._folder}/", ""))
                self.used = happened.done
                return

    @property
    def layers(self) -> tuple[str, ...]:
        """The sandbox's layers in force."""
        return self._process.layers

    def close(self) -> None:
        """End the process."""
        self._stack.close()

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _await_loaded(self, seconds: float) -> None:
        if not self._process.loaded:
            for _ in self._events(seconds):
                return

    def _events(self, seconds: float) -> Iterator[Happened]:
        """What happens, until the caller stops or the time is over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            waits = [self._process.input] if self._process.input is not None else []
            select.select([self._process.output], waits, [], min(left, _LOOK_SECONDS))
            self._process.write()
            for happened in self._process.read():
                if happened.event is Event.BROKEN:
                    raise SessionFailed("the process ended, or wrote out of turn")
                yield happened
            if self._process.crowded:
                raise SessionFailed("it has more threads than it declares")
        raise SessionFailed(f"nothing within {seconds:g} seconds")


def _stand_in(code: Path, entry_point: str) -> None:
    """Put :mod:`.inside_session` beside the workload's modules."""
    with (code / f"{_MODULE}.py").open("x", encoding="utf-8") as module:
        module.write(Path(inside_session.__file__).read_text(encoding="utf-8"))
    with (code / inside_session.SETTINGS).open("x", encoding="utf-8") as file:
        json.dump({"entry_point": entry_point}, file)
