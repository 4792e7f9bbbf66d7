"""How every long-running program logs: one line an entry, as text or as JSON, and never a secret.

``SEALMARKET_LOG_FORMAT`` is ``text`` or ``json``, ``SEALMARKET_LOG_LEVEL`` a level's name. Before an entry is written,
URLs are cut to scheme and host, since user names, paths and queries hold keys, and what follows ``Bearer`` is left
out. Ends of lines are spelt out, so no stranger writes an entry of their own.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sealmarket.serving.errors import SettingInvalid

FORMAT, LEVEL = "SEALMARKET_LOG_FORMAT", "SEALMARKET_LOG_LEVEL"
LONGEST_ENTRY = 16 << 10
HIDDEN = "[hidden]"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_FORMATS = ("text", "json")
_CLOSING = "\"'`)>],;}"


def configure_logs(environment: Mapping[str, str] = os.environ) -> None:
    """Log to the error stream as the environment says. Raises :class:`SettingInvalid`."""
    shape = _one_of(FORMAT, environment.get(FORMAT, "text"), _FORMATS)
    level = _one_of(LEVEL, environment.get(LEVEL, "INFO").upper(), _LEVELS)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonEntries() if shape == "json" else TextEntries())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


class TextEntries(logging.Formatter):
    """An entry as one line of text."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        return f"{moment} {record.levelname} {record.name} {_said(record)}".replace("\r", "\\r").replace("\n", "\\n")


class JsonEntries(logging.Formatter):
    """An entry as one JSON object: time (UTC), level, logger, message, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(entry)


def without_secrets(text: str) -> str:
    """A text with its URLs cut to scheme and host, and without tokens. One pass over its words."""
    lines = text[:LONGEST_ENTRY].split("\n")
    return "\n".join(" ".join(_shown_words(line.split(" "))) for line in lines)


def _shown_words(words: list[str]) -> list[str]:
    shown, hides = [], False
    for word in words:
        shown.append(HIDDEN if hides and word else _shown(word))
        hides = word.rstrip(":").lower().endswith("bearer") or (hides and not word)
    return shown


def _shown(word: str) -> str:
    before, mark, url = word.partition("://")
    if not mark:
        return word
    closing = url[len(url.rstrip(_CLOSING)) :]
    try:
        host = urlsplit(f"x://{url.rstrip(_CLOSING)}").netloc.rpartition("@")[2]
    except ValueError:
        host = HIDDEN
    return f"{before}://{host}{closing}"


def _said(record: logging.LogRecord) -> str:
    said = record.getMessage()
    if record.exc_info:
        said += "\n" + logging.Formatter().formatException(record.exc_info)
    return without_secrets(said)


def _one_of(name: str, found: str, allowed: tuple[str, ...]) -> str:
    if found not in allowed:
        raise SettingInvalid(name, f"one of {', '.join(allowed)}", found)
    return found
