"""What is logged is one line an entry, and without secrets, whatever a message brings along."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.serving.errors import SettingInvalid
from sealmarket.serving.logs import JsonEntries, TextEntries, configure_logs, without_secrets

SECRETS = {
    "https://user:planted@rpc.example/v3/planted?key=planted": "https://rpc.example",
    "(https://rpc.example:8545/planted)": "(https://rpc.example:8545)",
    "Authorization: Bearer planted": "Authorization: Bearer [hidden]",
    "bearer  planted now": "bearer  [hidden] now",
    "at wss://planted@rpc.example/planted: refused": "at wss://rpc.example refused",
    "http://[planted": "http://[hidden]",
}


def entry(message: str, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("sealmarket.test", logging.ERROR, __file__, 1, message, (), info)


@pytest.mark.parametrize(("name", "found"), [("FORMAT", "xml"), ("FORMAT", ""), ("LEVEL", "all")])
def test_a_setting_that_is_none_is_refused(name: str, found: str) -> None:
    with pytest.raises(SettingInvalid, match=f"SEALMARKET_LOG_{name}"):
        configure_logs({f"SEALMARKET_LOG_{name}": found})


@pytest.mark.parametrize("formatter", [TextEntries(), JsonEntries()], ids=["text", "json"])
@pytest.mark.parametrize("message", SECRETS)
def test_a_secret_is_left_out_of_messages_and_of_exceptions(message: str, formatter: logging.Formatter) -> None:
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        line = formatter.format(entry(f"it failed: {message}", error))
    assert "planted" not in line
    assert "RuntimeError" in line


@pytest.mark.parametrize(("message", "shown"), SECRETS.items())
def test_what_is_left_says_where_it_was(message: str, shown: str) -> None:
    assert without_secrets(message) == shown


@given(st.text(max_size=300))
def test_an_entry_is_one_line_whatever_a_stranger_writes(message: str) -> None:
    assert "\n" not in TextEntries().format(entry(message))
    line = JsonEntries().format(entry(message))
    assert "\n" not in line
    assert json.loads(line)["message"] == without_secrets(message)


def test_both_forms_name_level_logger_and_message() -> None:
    assert TextEntries().format(entry("told")).endswith("ERROR sealmarket.test told")
    found = json.loads(JsonEntries().format(entry("told")))
    assert (found["level"], found["logger"], found["message"]) == ("error", "sealmarket.test", "told")


def test_logs_go_to_the_error_stream_in_the_form_that_was_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    try:
        configure_logs({"SEALMARKET_LOG_FORMAT": "json", "SEALMARKET_LOG_LEVEL": "warning"})
        logging.getLogger("sealmarket.test").warning("told")
        logging.getLogger("sealmarket.test").info("not told")
        [line] = [line for line in capfd.readouterr().err.splitlines() if line]
        assert json.loads(line)["message"] == "told"
    finally:
        root.handlers[:], root.level = kept, level
