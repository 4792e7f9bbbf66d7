"""Who signed: renewals by nodes of the job's committee, requests by a session key under an account's grant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealmarket_enclave.protocol.codec import Address, Bytes32, decode_canonical
from sealmarket_enclave.protocol.errors import MalformedDocument
from sealmarket_enclave.protocol.session import Renewal, SessionCode, SessionRequest
from sealmarket_enclave.protocol.signing import SignatureRefused, recover
from sealmarket_enclave.runtime.job import LoadedJob
from sealmarket_enclave.runtime.kinds.session.refusals import RenewalRefused, RequestRefused
from sealmarket_enclave.sealed.session import OpenedRequest, signed_request
from sealmarket_enclave.sealed.shares import MAX_TOTAL


@dataclass(frozen=True, slots=True)
class Committee:
    """The nodes that every asset's share set names, and how many of them must sign."""

    members: frozenset[Address]
    threshold: int

    @classmethod
    def of(cls, job: LoadedJob) -> Committee:
        """The committee of a job."""
        sets = [asset.share_set for asset in job.assets]
        members = frozenset.intersection(*(frozenset(member.node for member in one.members) for one in sets))
        return cls(members, max(one.commitments.threshold for one in sets))


class Checking:
    """The signatures of one service, under the domain of its market."""

    def __init__(self, job: LoadedJob, weights: Bytes32) -> None:
        self._bound, self._weights, self._committee = job.bound, weights, Committee.of(job)

    def renewal(self, raw: bytes, signatures: Sequence[bytes]) -> Renewal:
        """A renewal that enough nodes signed.

        Raises:
            RenewalRefused: no renewal, or too few signatures of different members.
        """
        if len(signatures) > MAX_TOTAL:
            raise RenewalRefused("number of signatures", str(len(signatures)), f"at most {MAX_TOTAL}")
        try:
            renewal = decode_canonical(Renewal, raw)
        except MalformedDocument as error:
            raise RenewalRefused("form", error.message[:200], "a canonical renewal") from error
        digest = renewal.digest(self._bound.chain_id, self._bound.market)
        signers = {signer for signature in signatures if (signer := _signer(digest, signature)) is not None}
        found = len(signers & self._committee.members)
        if found < self._committee.threshold:
            raise RenewalRefused("signatures", f"of {found} nodes", f"{self._committee.threshold} or more")
        return renewal

    def request(self, opened: OpenedRequest) -> tuple[Address, SessionRequest]:
        """The account and the request that the session key of its grant signed.

        Raises:
            RequestRefused: ``grant_refused``.
        """
        grant, header = opened.header.grant, opened.header
        named = (grant.job_id, grant.workload, grant.weights)
        expected = (self._bound.job_id, self._bound.spec.workload_digest, self._weights)
        for what, found, wanted in zip(("service", "workload", "weights"), named, expected, strict=True):
            if found != wanted:
                raise RequestRefused(SessionCode.GRANT_REFUSED, f"{what} {found}", str(wanted))
        request = signed_request(header, opened.secret, opened.body)
        domain = (self._bound.chain_id, self._bound.market)
        account = _signer(grant.digest(*domain), header.grant_signature)
        session_key = _signer(request.digest(*domain), header.signature)
        if account is None or session_key != grant.session_key:
            raise RequestRefused(SessionCode.GRANT_REFUSED, "another signature", f"one by {grant.session_key}")
        return account, request


def _signer(digest: Bytes32, signature: bytes) -> Address | None:
    try:
        return recover(digest, signature)
    except SignatureRefused:
        return None
