"""What a host does on chain. :class:`ChainTransactions` is the real one; tests have a twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sealmarket.chain import Chain, Enclave, Sender
from sealmarket.protocol.book import Committee
from sealmarket.protocol.wire import PostedResult, SignedStop
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec


class ProviderTransactions(Protocol):
    """The provider's transactions. Each returns when it is in a block; raises ``ChainError``."""

    def quote(self, spec: JobSpec, evidence_hash: Bytes32) -> None:
        """Post the evidence hash: once for each job."""

    def finish(self, spec: JobSpec, evidence_hash: Bytes32, enclave_key_hash: Bytes32, posted: PostedResult) -> None:
        """Post what the enclave signed, a settlement or a failure."""

    def stop(self, spec: JobSpec, enclave: Enclave, stops: Sequence[SignedStop], committee: Committee) -> None:
        """End an accepted job that enough nodes promise never to release for."""


class ChainTransactions:
    """Sends from the provider's account."""

    def __init__(self, chain: Chain, sender: Sender) -> None:
        self._chain, self._sender = chain, sender

    def quote(self, spec: JobSpec, evidence_hash: Bytes32) -> None:
        """As :meth:`ProviderTransactions.quote`."""
        self._sender.send(self._chain.market.quote(spec, evidence_hash))

    def finish(self, spec: JobSpec, evidence_hash: Bytes32, enclave_key_hash: Bytes32, posted: PostedResult) -> None:
        """As :meth:`ProviderTransactions.finish`."""
        enclave = Enclave(evidence_hash, posted.enclave_signer, enclave_key_hash)
        market = self._chain.market
        if posted.settlement is not None:
            self._sender.send(market.settle(spec, enclave, posted.settlement, posted.signature))
        elif posted.failure is not None:
            self._sender.send(market.fail(spec, enclave, posted.failure, posted.signature))

    def stop(self, spec: JobSpec, enclave: Enclave, stops: Sequence[SignedStop], committee: Committee) -> None:
        """As :meth:`ProviderTransactions.stop`."""
        view, market = self._chain.at(self._chain.head()), self._chain.market
        if not view.interruption(spec.request_hash).stopped:
            removed = view.removed_members(committee.epoch)
            self._sender.send(market.stop(spec, enclave, stops, committee, removed=removed))
        self._sender.send(market.end_interrupted(spec, enclave))
