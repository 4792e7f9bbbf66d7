"""``sealmarket infer``: receipts and status from the disk alone, a chat, and addresses that are refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sealmarket.cli._infer_asking import Asked
from sealmarket.cli._infer_chat import talk
from sealmarket.cli.main import main
from sealmarket.inference.errors import InferenceError, RequestRefused
from sealmarket.inference.opening import FACTS, service_folder
from sealmarket.inference.pool import Asker
from sealmarket.inference.proxy import Proxy
from sealmarket.inference.receipts import FILE
from sealmarket.inference.serve import require_address
from sealmarket.private_files import write_private
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import SessionCode
from tests.inference.enclave import JOB, Answer, FakeEnclave, LyingHost, said
from tests.patience import PATIENCE


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["infer", *map(str, words)])
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out, output.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the service's state lies, with one answer in it."""
    monkeypatch.setenv("SEALMARKET_HOME", str(tmp_path))
    place = service_folder(tmp_path, JobId(JOB))
    enclave = FakeEnclave()
    said(enclave.asker(place), b'{"messages":[]}')
    write_private(place / FACTS, enclave.service.facts.canonical())
    return place


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_an_address_beyond_this_machine_needs_a_token(host: str) -> None:
    with pytest.raises(InferenceError, match="without a token"):
        require_address(host, None)
    require_address(host, "token")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_loopback_address_needs_none(host: str) -> None:
    require_address(host, None)


def test_a_proxy_looks_for_services_while_it_runs_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    enclave, looked = FakeEnclave(), threading.Event()

    @contextmanager
    def proven(*_words: object, **_options: object) -> Iterator[Asked]:
        def find() -> dict[JobId, str]:
            looked.set()
            return {}

        def open_one(_job: JobId, _url: str) -> Asker:
            raise AssertionError("nothing was found")

        yield Asked([enclave.asker(tmp_path / "user")], find, open_one)

    def served(proxy: Proxy, _host: str, _port: int) -> None:
        enclave.refuses = lambda _request: SessionCode.BUSY
        with pytest.raises(RequestRefused, match="busy"):
            said(proxy._asker)  # type: ignore[arg-type]
        assert looked.wait(PATIENCE)

    monkeypatch.setattr("sealmarket.cli.infer.asking_all", proven)
    monkeypatch.setattr("sealmarket.inference.serve.serve", served)
    monkeypatch.setattr("sealmarket.inference.watching.SOONEST_SECONDS", 0.01)
    for name in ("market.json", "user.key"):
        (tmp_path / name).write_text("{}")
    files = ("--book", tmp_path / "market.json", "--key-file", tmp_path / "user.key")
    code, _, err = run(capsys, "proxy", "--asset", JOB, *files, "--rpc", "http://127.0.0.1:9")
    assert (code, err) == (0, "")
    assert not [thread for thread in threading.enumerate() if thread.name == "services"]


def test_a_proxy_for_several_services_needs_an_address_for_each(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    book, key = tmp_path / "market.json", tmp_path / "user.key"
    for path in (book, key):
        path.write_text("{}")
    services = ("--service", JOB, "--service", "0x" + "22" * 32, "--provider", "http://127.0.0.1:9")
    code, _, err = run(capsys, "proxy", *services, "--book", book, "--rpc", "http://127.0.0.1:9", "--key-file", key)
    assert (code, "2 services and 1 addresses" in err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--provider", "http://127.0.0.1:9"),
        ("--service", JOB, "--asset", JOB),
    ],
)
@pytest.mark.parametrize("command", ["proxy", "chat"])
def test_a_user_names_services_or_a_model_and_not_both(
    command: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    book, key = tmp_path / "market.json", tmp_path / "user.key"
    for path in (book, key):
        path.write_text("{}")
    code, _, err = run(capsys, command, *words, "--book", book, "--rpc", "http://127.0.0.1:9", "--key-file", key)
    assert (code, "name --asset, or each --service" in err) == (2, True)


@pytest.mark.parametrize("command", ["proxy", "chat"])
def test_a_workload_alone_names_no_model_since_any_owner_may_serve_it_from_an_enclave_of_its_own(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    book, key = tmp_path / "market.json", tmp_path / "user.key"
    for path in (book, key):
        path.write_text("{}")
    words = ("--workload", JOB, "--book", book, "--rpc", "http://127.0.0.1:9", "--key-file", key)
    code, _, err = run(capsys, command, *words)
    assert (code, "--workload alone names no model" in err) == (2, True)


def test_a_service_that_was_never_asked_has_no_receipts_and_no_status(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("receipts", "status"):
        code, _, err = run(capsys, command, "--service", "0x" + "22" * 32)
        assert code == 2
        assert "was never asked from here" in err


def test_receipts_are_checked_offline_and_an_altered_one_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "receipts", "--service", JOB, "--json")
    [row] = json.loads(out)
    assert (code, row["promptUnits"], row["outputUnits"], row["holds"]) == (0, 3, 2, True)
    raw = (folder / FILE).read_text()
    (folder / FILE).write_text(raw.replace('"outputUnits":"2"', '"outputUnits":"1"'))
    code, out, _ = run(capsys, "receipts", "--service", JOB)
    assert code == 1
    assert "FAILED" in out


def test_one_receipt_is_held_against_the_bodies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "receipts", "--service", JOB, "--json")
    name = json.loads(out)[0]["receipt"]
    asked, answered = folder / "asked", folder / "answered"
    asked.write_bytes(b'{"messages":[]}')
    answered.write_bytes(b'chat:{"messages":[]}')
    words = ("receipt", name, "--service", JOB, "--request", asked, "--response", answered)
    assert run(capsys, *words)[0] == 0
    answered.write_bytes(b"another answer")
    code, _, err = run(capsys, *words)
    assert code == 1
    assert "the receipt's response" in err


def test_a_receipt_is_written_as_an_air_that_its_reader_verifies(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "receipts", "--service", JOB, "--json")
    words = ("receipt", json.loads(out)[0]["receipt"], "--service", JOB, "--format", "air", "--nonce", "11" * 8)
    assert run(capsys, *words)[0] == 2
    code, _, err = run(capsys, *words, "--out", folder / "one.air")
    assert code == 0
    key = err.split()[-1]
    code, out, _ = run(capsys, "air", folder / "one.air", "--key", key, "--nonce", "11" * 8)
    assert code == 0
    assert "tdx-mrtd-rtmr" in out
    for wrong in (("--key", "0x" + "22" * 32), ("--key", key, "--nonce", "33" * 8)):
        assert run(capsys, "air", folder / "one.air", *wrong)[0] == 1


def test_status_says_what_was_spent_and_what_a_lost_answer_may_have_cost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "status", "--service", JOB, "--json")
    payload = json.loads(out)
    assert (code, payload["units"], payload["cost"], payload["mostLostUnits"]) == (0, 5, "25", 0)
    assert payload["process"] is None
    code, out, _ = run(capsys, "status", "--service", JOB)
    assert "simulated" in out


def _talks(asker: Asker, *lines: str) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    talk(asker, messages, iter(lines), 1000, 100)
    return messages


def _events(endpoint: str, body: bytes, most: int) -> Answer:
    text = json.loads(body)["messages"][-1]["content"]
    event = json.dumps({"choices": [{"delta": {"content": text.upper() + "\x1b[2J"}}]}).encode()
    return [b"data: " + event[:20], event[20:] + b"\n\n", b"data: [DONE]\n\n"], 1, 1


def test_a_chat_goes_on_after_a_failure_and_prints_nothing_that_moves_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enclave, ends = FakeEnclave(_events), iter([-1, None])
    asker = enclave.asker(tmp_path, LyingHost(enclave, lambda answer: answer[: next(ends)]))
    messages = _talks(asker, "first\n", "\n", "second\n")
    output = capsys.readouterr()
    assert [one["content"] for one in messages] == ["second", "SECOND\x1b[2J"]
    assert "\x1b" not in output.out
    assert "SECOND?[2J" in output.out
    assert "frame" in output.err


def test_a_chat_shows_a_workloads_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusing(*_: object) -> Answer:
        return [b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'], 0, 0

    _talks(FakeEnclave(refusing).asker(tmp_path), "hello")
    assert "too long" in capsys.readouterr().err
