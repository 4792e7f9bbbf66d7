"""The client's side of uploads that go on, against stores that tear, forget, are older, or say what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from sealmarket.service.connection import Connection
from sealmarket.service.errors import ServiceRefused, ServiceUnavailable
from sealmarket.store import upload as upload_module
from sealmarket.store.upload import MOST_TRIES, upload
from tests.store.sources import container

RAW, ROOT, _ = container(3)


@dataclass
class Twin:
    """A store with uploads in parts, in memory. ``tears`` says after how many bytes the number of a part tears."""

    tears: Callable[[int], int | None] = lambda _part: None
    loses_the_end: bool = False
    older: bool = False
    keeps_none: bool = False
    says: str | None = None
    there: dict[str, bytearray] = field(default_factory=dict)
    kept: bytes | None = None
    parts: list[int] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/upload"):
            return self._whole(request)
        if self.older:
            return httpx.Response(404)
        token = request.headers["upload-token"]
        return {"HEAD": self._offset, "PATCH": self._add, "PUT": self._finish}[request.method](request, token)

    def _whole(self, request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(404 if self.kept is None else 200)
        self.kept = request.read()
        return httpx.Response(201)

    def _offset(self, request: httpx.Request, token: str) -> httpx.Response:
        if token not in self.there:
            return httpx.Response(404)
        return httpx.Response(204, headers={"upload-offset": self.says or str(len(self.there[token]))})

    def _add(self, request: httpx.Request, token: str) -> httpx.Response:
        mine, raw = self.there.setdefault(token, bytearray()), request.read()
        assert int(request.headers["upload-offset"]) == len(mine)
        self.parts.append(len(raw))
        torn = self.tears(len(self.parts))
        mine += raw[:torn]
        if torn is not None:
            raise httpx.WriteError("the connection tore", request=request)
        return httpx.Response(204)

    def _finish(self, request: httpx.Request, token: str) -> httpx.Response:
        if self.keeps_none:
            return httpx.Response(404)
        self.kept = bytes(self.there.pop(token))
        if self.loses_the_end:
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return httpx.Response(201)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(upload_module, "IN_PARTS_FROM", 0)
    monkeypatch.setattr(upload_module, "LEAST_PROGRESS", 1000)
    path = tmp_path / "container"
    path.write_bytes(RAW)
    return path


def send(twin: Twin, file: Path) -> list[float]:
    """Upload; the waits between the tries."""
    waits: list[float] = []
    http = Connection("http://store", service="store", transport=httpx.MockTransport(twin.answer))
    with closing(http):
        upload(http, ROOT, file, wait=waits.append)
    return waits


def test_a_store_that_takes_nothing_is_left_after_some_tries_and_the_token_stays(file: Path) -> None:
    twin = Twin(tears=lambda _part: 0)
    with pytest.raises(ServiceUnavailable):
        send(twin, file)
    assert len(twin.parts) == MOST_TRIES
    kept = upload_module._token_file(file, ROOT)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list(twin.there) == [kept.read_text()]


@pytest.mark.parametrize("said", ["-1", "x", str(len(RAW) + 1), "9" * 30, "\u0661"])
def test_a_store_that_says_what_cannot_be_is_refused(said: str, file: Path) -> None:
    twin = Twin(says=said if said.isascii() else "0x", tears=lambda part: 5000 if part == 1 else None)
    with pytest.raises(ServiceRefused):
        send(twin, file)


def test_a_torn_upload_sends_only_the_rest(file: Path) -> None:
    twin = Twin(tears=lambda part: 70_000 if part == 1 else None)
    send(twin, file)
    assert (twin.kept, twin.parts) == (RAW, [len(RAW), len(RAW) - 70_000])


def test_an_upload_that_gets_on_is_tried_as_often_as_it_tears(file: Path) -> None:
    twin = Twin(tears=lambda part: 5000 if part < 30 else None)
    send(twin, file)
    assert twin.kept == RAW


def test_a_container_of_terabytes_that_is_sent_whole_waits_as_long_after_a_thousand_tries(file: Path) -> None:
    waits, http = list[float](), Connection("http://store", service="store")
    with closing(http), file.open("rb", buffering=0) as raw:
        one = upload_module._Upload(http, ROOT, raw, 1 << 40, ROOT, waits.append)
        one._whole = True
        for _ in range(2_000):
            one._pause(ServiceUnavailable("a store", "http://store", "away"))
    assert max(waits) == waits[-1] == upload_module.LONGEST_WAIT


def test_another_call_goes_on_with_what_the_store_has(file: Path) -> None:
    twin = Twin(tears=lambda part: 70_000 if part == 1 else 0)
    with pytest.raises(ServiceUnavailable):
        send(twin, file)
    twin.tears, twin.parts = lambda _part: None, []
    send(twin, file)
    assert (twin.kept, twin.parts) == (RAW, [len(RAW) - 70_000])


def test_a_store_that_forgot_gets_all_of_it(file: Path) -> None:
    twin = Twin(tears=lambda part: 70_000 if part == 1 else 0)
    with pytest.raises(ServiceUnavailable):
        send(twin, file)
    twin.tears = lambda _part: None
    twin.there.clear()
    send(twin, file)
    assert twin.kept == RAW


def test_an_answer_that_was_lost_at_the_end_does_not_send_it_again(file: Path) -> None:
    twin = Twin(loses_the_end=True)
    send(twin, file)
    assert (twin.kept, twin.parts) == (RAW, [len(RAW)])


def test_an_older_store_gets_the_whole_at_once(file: Path) -> None:
    twin = Twin(older=True)
    send(twin, file)
    assert (twin.kept, twin.parts) == (RAW, [])
    assert not upload_module._token_file(file, ROOT).exists()


def test_a_store_that_strangers_filled_with_paused_uploads_gets_the_whole_at_once(file: Path) -> None:
    twin = Twin(keeps_none=True)
    assert send(twin, file) == []
    assert (twin.kept, twin.parts) == (RAW, [len(RAW)])
    assert not upload_module._token_file(file, ROOT).exists()
