"""The operator of one node: statements in its folder, hashes that it anchors, machines that it holds back."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import coincurve
from msgspec.structs import replace

from sealmarket.protocol.advisories import (
    Advisory,
    SignedAdvisory,
    Target,
)
from sealmarket.protocol.decisions import Decision
from sealmarket_enclave.protocol.signing import address_of, sign
from sealmarket_oracle.holds import Holds
from sealmarket_oracle.recalls import Recall, Recalls, Sightings
from sealmarket_oracle.service import Node
from tests.oracle.world import NOW, World

ISSUER, STRANGER = coincurve.PrivateKey(b"\x11" * 32), coincurve.PrivateKey(b"\x12" * 32)
STRANGER_ADDRESS = address_of(STRANGER.public_key)
WHOLE = (Target(tee="tdx"),)


class Operator:
    """One node whose operator enables an issuer; ``held`` is its recalls, of which a second one is a restart."""

    def __init__(self, world: World, stack: ExitStack) -> None:
        self._world, self._stack, self._starts = world, stack, 0
        self.folder = world.folder / "advisories"
        self.folder.mkdir()
        self.node, self.held = self.start()

    def start(self) -> tuple[Node, Recalls]:
        """Start the node, on the same journal."""
        self._starts += 1
        journal = self._world.journal()
        sightings = self._stack.enter_context(Sightings(self._world.folder / "platforms.sqlite"))
        holds = Holds(self._world.folder / "holds")
        held = Recalls(self.folder, frozenset({address_of(ISSUER.public_key)}), journal, sightings, holds)
        return self._world.node(journal_of=journal, recalls=held), held

    def drop(self, name: str = "one.json", *, key: coincurve.PrivateKey = ISSUER, **fields: Any) -> SignedAdvisory:
        """A signed statement in the operator's folder."""
        stated = replace(Advisory(title="a leaked key", applies_from=0, targets=WHOLE), **fields)
        signed = SignedAdvisory(advisory=stated, signature=sign(stated.digest(), key))
        (self.folder / name).write_bytes(signed.canonical())
        return signed

    def anchored(self, **fields: Any) -> SignedAdvisory:
        """The same, with its hash on chain."""
        signed = self.drop(**fields)
        self._world.chain.anchor_advisory(signed.advisory.name())
        return signed

    def hold(self, raw: bytes | None = None, **fields: Any) -> Path:
        """A statement of the operator's own, by which it holds machines back; ``raw`` are other bytes in its place."""
        stated = replace(Advisory(title="seen on a list", applies_from=NOW + 10**6, targets=WHOLE), **fields)
        folder = self._world.folder / "holds"
        folder.mkdir(exist_ok=True)
        (folder / "one.json").write_bytes(stated.canonical() if raw is None else raw)
        return folder / "one.json"

    def recall(self, advisory: Advisory) -> Recall:
        """What a statement touches, at the final block."""
        return self.held.touched_by(advisory, self.node.at_final())

    def look(self) -> None:
        """The node looks at its folders, at the final block."""
        chain = self._world.chain
        self.held.look(chain.trusted(chain.final()))


def decided(world: World, operator: Operator, **match: Any) -> Decision:
    """What the operator's node decides about a fresh job."""
    world.match(world.publish(), **match)
    world.quote()
    return world.decided(operator.node)
