"""What a host does on chain. :class:`ChainTransactions` is the real one; tests have a twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sealmarket.chain import Chain, Enclave, Sender
from sealmarket.protocol.book import Committee
from sealmarket.protocol.wire import PostedResult, SignedStop
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.job import JobSpec, SharesMissing


class ProviderTransactions(Protocol):
    """The provider's transactions. Each returns when it is in a block; raises ``ChainError``."""

    def quote(self, spec: JobSpec, evidence_hash: Bytes32) -> None:
        """Post the evidence hash: once for each job."""

    def finish(self, spec: JobSpec, evidence_hash: Bytes32, enclave_key_hash: Bytes32, posted: PostedResult) -> None:
        """Post what the enclave signed, a settlement or a failure."""

    def stop(self, spec: JobSpec, enclave: Enclave, stops: Sequence[SignedStop], committee: Committee) -> None:
        """Record that enough nodes promise never to release for an accepted job."""

    def report_missing(self, spec: JobSpec, enclave: Enclave, missing: SharesMissing, signature: bytes) -> None:
        """Record that the enclave has joined no key, with money for the nodes that post their releases."""

    def end_interrupted(self, spec: JobSpec, enclave: Enclave) -> None:
        """End a job that is stopped, or for which too few releases were posted."""

    def return_unspent(self, spec: JobSpec) -> None:
        """Take back what was not paid to nodes that posted."""


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
        removed = self._chain.at(self._chain.head()).removed_members(committee.epoch)
        self._sender.send(self._chain.market.stop(spec, enclave, stops, committee, removed=removed))

    def report_missing(self, spec: JobSpec, enclave: Enclave, missing: SharesMissing, signature: bytes) -> None:
        """As :meth:`ProviderTransactions.report_missing`."""
        self._sender.send(self._chain.market.report_missing(spec, enclave, missing, signature))

    def end_interrupted(self, spec: JobSpec, enclave: Enclave) -> None:
        """As :meth:`ProviderTransactions.end_interrupted`."""
        self._sender.send(self._chain.market.end_interrupted(spec, enclave))

    def return_unspent(self, spec: JobSpec) -> None:
        """As :meth:`ProviderTransactions.return_unspent`."""
        self._sender.send(self._chain.market.return_unspent(spec.request_hash))
