"""Ask a service: a local address for OpenAI's clients, a chat in the terminal, receipts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._infer_chat import chat
from sealmarket.cli._infer_receipts import air, receipt, receipts, status
from sealmarket.cli._infer_service import (
    AllowSimulated,
    Budget,
    Cap,
    DevelopmentRoots,
    EvidencePolicy,
    Grants,
    HostUrls,
    MostOutput,
    MostUnits,
    ServiceIds,
    asking_all,
    facts_lines,
    spending_of,
)
from sealmarket.cli._options import AcceptCode, BookFile, KeyFile, PassphraseFile, RpcUrl
from sealmarket.private_files import read_passphrase_file

app = typer.Typer(no_args_is_help=True, help="Ask a service: OpenAI's clients, a chat, receipts.")

for command in (chat, receipts, receipt, air, status):
    app.command()(command)


@app.command()
def proxy(
    service: ServiceIds,
    provider: HostUrls,
    book: BookFile,
    rpc: RpcUrl,
    key_file: KeyFile,
    port: Annotated[int, typer.Option(help="Port on this machine; 0 chooses one.")] = 8411,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine only with a token.")
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option(help="A file whose first line clients must give as their API key.")
    ] = None,
    grants: Grants = 4,
    cap: Cap = 100_000,
    budget: Budget = 1_000_000,
    most_units: MostUnits = 8192,
    most_output: MostOutput = 1024,
    evidence_policy: EvidencePolicy = None,
    development_root: DevelopmentRoots = None,
    allow_simulated: AllowSimulated = False,
    accept_code: AcceptCode = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Verify a service once, then answer OpenAI's clients on this machine by it, and by nothing else.

    Several services of one model stand in for each other: a request goes to one that is verified and has room.

    Example: sealmarket infer proxy --service ID --provider URL --book market.json --rpc URL --key-file user.key
    """
    from sealmarket.inference.proxy import Proxy, ProxyRules
    from sealmarket.inference.replicas import Replicas
    from sealmarket.inference.serve import require_address, serve

    token = read_passphrase_file(token_file) if token_file else None
    require_address(host, token)
    rules = ProxyRules(most_units=most_units, most_output=most_output, token=token)
    with asking_all(
        service,
        provider,
        book,
        rpc,
        key_file,
        spending_of(grants, cap, budget),
        evidence_policy=evidence_policy,
        development_root=development_root or [],
        allow_simulated=allow_simulated,
        accept_code=accept_code,
        passphrase_file=passphrase_file,
    ) as askers:
        for line in (line for asker in askers for line in facts_lines(asker.service)):
            typer.echo(line)
        serve(Proxy(Replicas(askers), rules), host, port)
