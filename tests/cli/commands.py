"""Every command there is, found by walking the program, with arguments under which it gets as far as its work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from sealmarket.chain.deploy import write_book
from sealmarket.cli import main
from sealmarket.client import create_result_key
from sealmarket.protocol.advisories import Advisory, Target
from sealmarket.protocol.book import Member
from sealmarket.workloads.wheels import build
from sealmarket_enclave.protocol.codec import Address, HexBytes
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.sealed.hpke import PrivateKey
from tests.client.bundles import Case
from tests.enclave.workload.bundles import bundle

ID, ACCOUNT, CLOSED = "0x" + "11" * 32, "0x" + "11" * 20, "http://127.0.0.1:9"
BY_OPTION = {
    "--book": "market.json", "--rpc": CLOSED, "--key-file": "account.key", "--key": "account.key",
    "--result-key": "result.key", "--workload": "workload", "--asset": ID, "--policy": "draft.json", "--out": "out",
    "--state": "state", "--url": CLOSED, "--config": "config.toml", "--max-compute-price": "1coin",
    "--release-key": "absent",
    "--root": ID, "--backup": "backup", "--price": "1coin", "--penalty": "1coin", "--service": ID, "--provider": CLOSED,
    "--at": "1",
}  # fmt: skip
BY_NAME = {
    "asset": ID, "job": ID, "request": ID, "proposal": ID, "order": ID, "version": "1", "value": "1coin", "to": ACCOUNT,
    "holder": ACCOUNT, "receipt": ID, "url": CLOSED, "shell": "bash", "file": "absent", "path": "new.key",
    "source": "absent", "place": "absent", "index": "0", "proof": "absent", "chunk": "absent", "name": ID,
    "release": "absent", "epoch": "1", "statement": "advisory.json",
    "committee": "committee.json", "nodes": "absent",
}  # fmt: skip
MORE = {
    "verify": "--book market.json --rpc http://127.0.0.1:9",
    **dict.fromkeys(("consumer quote", "consumer request", "consumer propose"), f"--parameter target=a --asset {ID}"),
    "consumer buy": f"--parameter target=a --asset {ID} --yes",
    "provider offer": "--simulated",
    "provider serve": "--yes",
    **dict.fromkeys(("infer proxy", "infer chat"), f"--service {ID} --provider {CLOSED}"),
    "consumer tab open": f"--service {ID}",
    "owner list": f"--account {ACCOUNT}",
    "owner audit": f"--account {ACCOUNT}",
    "chain end-epoch": "--yes",
    "chain announce-epoch": "--yes",
    "owner approve": "--yes",
    "oracle post": f"--job {ID}",
    "owner tighten": "--max-uses 1",
    "owner lift": "--yes",
    "owner revoke": "--yes",
    "owner approve-release": "--yes",
    "owner withdraw-release": "--yes",
    "owner rewrap": "--yes",
}
"""What a command needs beside what it requires."""
LASTING = {
    "localnet up": "it starts a whole market",
    "worker image build": "it writes a whole image",
    "worker image measure": "it builds a whole image",
    "worker image release": "it builds a whole image",
    "worker image reproduce": "it builds a whole image",
}
"""Commands that are not called here but for their help; others try them."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, and the framework's object."""

    name: str
    leaf: Any

    @property
    def options(self) -> set[str]:
        """The names of its options."""
        return {option for one in self.leaf.params for option in one.opts if option.startswith("--")}

    @property
    def words(self) -> list[str]:
        """A call of it."""
        given: list[str] = []
        for one in self.leaf.params:
            if not one.required:
                continue
            option = next((name for name in one.opts if name.startswith("--")), None)
            if option is None:
                given.append(BY_NAME.get(one.name, one.name))
            else:
                given += [option, BY_OPTION.get(option, "1")]
        more = [word for word in MORE.get(self.name, "").split() if word != "--yes" or word in self.options]
        return [*self.name.split(), *given, *more]


def all_commands() -> list[Command]:
    """Every command of every group that is installed."""
    groups = sorted({*main._built_in(), *main._installed()})
    return [found for group in groups for found in _leaves(group, main._load(group))]


def _leaves(name: str, command: Any) -> Iterator[Command]:
    inside = getattr(command, "commands", None)
    if inside is None:
        yield Command(name, command)
        return
    for below, one in inside.items():
        yield from _leaves(f"{name} {below}", one)


def make_files(folder: Path) -> None:
    """What the arguments name."""
    write_book(
        folder / "market.json",
        replace(
            Case().book,
            deployed_hash=keccak(b"the block of this book"),
            backend=CLOSED,
            store=CLOSED,
            sessions=Address(b"\x05" * 20),
        ),
    )
    stated = Advisory(title="t", applies_from=0, targets=(Target(tee="tdx"),))
    (folder / "advisory.json").write_bytes(stated.canonical())
    case = Case().book.committees[0]
    members = tuple(
        Member(
            signer=Address(bytes([seat]) * 20),
            hpke_public_key=HexBytes(PrivateKey.generate().public.raw),
            url=f"{CLOSED}/{seat}",
        )
        for seat in (11, 12)
    )
    following = replace(case, epoch=case.epoch + 1, threshold=2, members=members)
    (folder / "committee.json").write_bytes(following.canonical())
    create_result_key(folder / "result.key", confirm_unencrypted=True)
    (folder / "account.key").write_text("11" * 32)
    (folder / "account.key").chmod(0o600)
    tree = bundle(folder / "workload")
    (tree / "environment.json").write_bytes(build(b"", []).canonical())
