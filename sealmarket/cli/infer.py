"""Ask a service: a local address for OpenAI's clients, a chat in the terminal, receipts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sealmarket.cli._asking import progress
from sealmarket.cli._groups import takes
from sealmarket.cli._infer_asking import asking_all
from sealmarket.cli._infer_chat import chat
from sealmarket.cli._infer_receipts import air, receipt, receipts, status
from sealmarket.cli._infer_service import (
    AllowSimulated,
    Budget,
    Cap,
    DevelopmentRoots,
    EvidencePolicy,
    Grants,
    MostOutput,
    MostUnits,
    Named,
    OfAsset,
    OfWorkload,
    facts_lines,
    spending_of,
    wish_of,
)
from sealmarket.cli._options import (
    AcceptCode,
    AsJson,
    BookFile,
    KeyFile,
    PassphraseFile,
    RpcUrl,
    answer,
    market,
)
from sealmarket.private_files import read_passphrase_file

app = typer.Typer(no_args_is_help=True, help="Find a service and ask it: OpenAI's clients, a chat, receipts.")
BACKENDS_PART = "that these are all is the backend's statement; each was checked against the chain, no evidence yet"

for command in (chat, receipts, receipt, air, status):
    app.command()(command)


@app.command()
def services(
    book: BookFile,
    rpc: RpcUrl,
    asset: OfAsset = None,
    workload: OfWorkload = None,
    allow_simulated: AllowSimulated = False,
    limit: Annotated[int, typer.Option(help="How many are shown.", min=1, max=64)] = 20,
    as_json: AsJson = False,
) -> None:
    """Services that can be asked, the cheapest first: price, owners' part, provider, TEE, end, as the chain has them.

    Where each is reached its provider signed. Evidence is verified by `infer proxy` and `chat`, and not here.

    Example: sealmarket infer services --asset 0xID --book market.json --rpc URL
    """
    from sealmarket.cli._infer_choice import service_lines, service_payload
    from sealmarket.client.offered_services import ServiceFinder

    wish = wish_of(asset, workload, simulated=allow_simulated)
    with market(book, rpc) as (chain, _, api):
        progress("reading the market's list, and holding each service against the chain")
        found = ServiceFinder(chain, api).find(wish)[:limit]
    none = "no service can be asked" + ("" if allow_simulated else " on hardware; --allow-simulated shows the others")
    lines = [line for one in found for line in service_lines(one)] or [none]
    answer({"services": [service_payload(one) for one in found]}, [*lines, BACKENDS_PART], as_json)


@app.command()
@takes(Named)
def proxy(
    named: Named,
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

    Several services of one model stand in for each other: a request goes to one that is verified and has room. With
    --asset or --workload they are those at which you have an open tab. The proxy looks for others every 5 minutes, and
    half a minute after one refused or ended, and verifies them alike.

    Example: sealmarket infer proxy --asset 0xID --book market.json --rpc URL --key-file user.key
    """
    from sealmarket.cli._infer_choice import MOST_REPLICAS
    from sealmarket.inference.proxy import Proxy, ProxyRules
    from sealmarket.inference.replicas import Replicas
    from sealmarket.inference.serve import require_address, serve
    from sealmarket.inference.watching import Watch

    token = read_passphrase_file(token_file) if token_file else None
    require_address(host, token)
    rules = ProxyRules(most_units=most_units, most_output=most_output, token=token)
    with asking_all(
        named,
        book,
        rpc,
        key_file,
        spending_of(grants, cap, budget),
        evidence_policy=evidence_policy,
        development_root=development_root or [],
        allow_simulated=allow_simulated,
        accept_code=accept_code,
        passphrase_file=passphrase_file,
    ) as asked:
        for line in (line for asker in asked.askers for line in facts_lines(asker.service)):
            typer.echo(line)
        replicas = Replicas(asked.askers, most=len(named.service) if named.service else MOST_REPLICAS)
        with Watch(replicas, asked.find, asked.open_one, progress):
            serve(Proxy(replicas, rules), host, port)
