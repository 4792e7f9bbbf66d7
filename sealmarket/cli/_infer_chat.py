"""``sealmarket infer chat``: a person asks a service in the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealmarket.cli._groups import takes
from sealmarket.cli._infer_asking import asking_all
from sealmarket.cli._infer_service import (
    AllowSimulated,
    Budget,
    DevelopmentRoots,
    EvidencePolicy,
    MostOutput,
    MostUnits,
    Named,
    facts_lines,
    spending_of,
)
from sealmarket.cli._options import AcceptCode, BookFile, KeyFile, PassphraseFile, RpcUrl, Usage
from sealmarket.cli._plain import harmless
from sealmarket_enclave.protocol.codec import require_shallow
from sealmarket_enclave.protocol.errors import SealmarketError

if TYPE_CHECKING:
    from sealmarket.inference.pool import Asker

_CAP = 100_000
_MOST_EVENT = 1 << 20


@takes(Named)
def chat(
    named: Named,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    system: Annotated[str, typer.Option(help="A first message that says how to answer.")] = "",
    budget: Budget = 1_000_000,
    most_units: MostUnits = 8192,
    most_output: MostOutput = 1024,
    evidence_policy: EvidencePolicy = None,
    development_root: DevelopmentRoots = None,
    allow_simulated: AllowSimulated = False,
    accept_code: AcceptCode = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Talk to a service, a line at a time, until the input ends. Each answer's receipt is kept.

    Example: sealmarket infer chat --asset 0xID --book market.json --rpc URL --key-file user.key
    """
    if named.service is not None and len(named.service) > 1:
        raise Usage("a chat has one service", remedy="name one, or start a proxy for several")
    with asking_all(
        named,
        book,
        rpc,
        key_file,
        spending_of(1, _CAP, budget),
        evidence_policy=evidence_policy,
        development_root=development_root or [],
        allow_simulated=allow_simulated,
        accept_code=accept_code,
        passphrase_file=passphrase_file,
    ) as found:
        asker = found.askers[0]
        for line in facts_lines(asker.service):
            typer.echo(line, err=True)
        messages = [{"role": "system", "content": system}] if system else []
        talk(asker, messages, iter(sys.stdin.readline, ""), most_units, most_output)


def talk(asker: Asker, messages: list[dict[str, str]], lines: Iterator[str], most_units: int, most_output: int) -> None:
    """Ask with each line, and print what comes. What fails is printed, and the conversation goes on without it."""
    for line in lines:
        if not line.strip():
            continue
        asked = [*messages, {"role": "user", "content": line.strip()}]
        try:
            text = _answer(asker, asked, most_units, most_output)
        except SealmarketError as error:
            typer.echo(f"\n{harmless(error.message)}\n  {harmless(error.remedy)}", err=True)
            continue
        messages[:] = [*asked, {"role": "assistant", "content": text}]


def _answer(asker: Asker, messages: list[dict[str, str]], most_units: int, most_output: int) -> str:
    from sealmarket.inference.openai import refusal_of_workload, units_for

    request: dict[str, Any] = {"messages": messages, "max_tokens": most_output, "stream": True}
    body = json.dumps(request, ensure_ascii=False).encode("utf-8", "replace")
    most = min(most_units, asker.service.serving.max_units)
    units = units_for("chat", request, len(body), most_output, most)
    said, raw = "", b""

    def kept(found: object) -> None:
        typer.echo(f"\n[{found}]", err=True)

    for piece, event in _events(asker, body, units, kept):
        raw += piece
        said += event
        typer.echo(harmless(event), nl=False)
    if (refused := refusal_of_workload(raw)) is not None:
        typer.echo(harmless(refused.message), err=True)
    return said


def _events(asker: Asker, body: bytes, units: int, kept: Callable[[object], None]) -> Iterator[tuple[bytes, str]]:
    """The pieces of an answer, each with the text that is complete by it."""
    rest = b""
    for piece in asker.ask("chat", body, units, kept):
        rest += piece
        *whole, rest = rest.split(b"\n\n")
        yield piece, "".join(map(_text, whole))
        if len(rest) > _MOST_EVENT:
            rest = b""


def _text(event: bytes) -> str:
    try:
        raw = event.removeprefix(b"data: ")
        require_shallow(raw)
        choices = json.loads(raw)["choices"]
        found = choices[0]["delta"].get("content") if choices else None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return ""
    return found if isinstance(found, str) else ""
