"""The user's side before a real enclave behind a real host: what is charged, and what a cut connection costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.inference.errors import HostRefused, RequestRefused
from sealmarket.inference.grants import GrantShelf
from sealmarket.inference.host import ServiceHost
from sealmarket.inference.pool import Asker, Spending
from sealmarket.inference.receipts import FILE, ReceiptFile, check_kept, read_receipts
from sealmarket.inference.service import Service, ServiceFacts
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Grant, SessionCode, weights_hash
from sealmarket_enclave.protocol.signing import sign
from sealmarket_enclave.sealed.hpke import PublicKey
from tests.enclave.scene import CHAIN_ID, MARKET
from tests.enclave.session.services import RULES, Account
from tests.inference.enclave import FakeEnclave, said
from tests.worker.test_hosting import ALICE, Host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host")) as made:
        yield made


def service_of(host: Host) -> Service:
    """What a user knows of the service once it is proven."""
    served, evidence = host.service, host.service.evidence
    assert evidence is not None
    key = PublicKey(evidence.enclave_key)
    facts = replace(
        FakeEnclave().service.facts,
        chain_id=CHAIN_ID,
        market=MARKET,
        job_id=served.job_id,
        evidence_hash=Bytes32(evidence.evidence_hash),
        enclave_signer=Address(evidence.signer),
        enclave_key_hash=key.digest,
        workload=served.spec.workload_digest,
        weights=weights_hash(asset.seal.content_root for asset in served.scene.assets),
        end=served.terms.end,
    )
    assert isinstance(facts, ServiceFacts)
    known = FakeEnclave().service
    return Service(
        facts=facts, spec=served.spec, terms=served.terms, serving=RULES, key=key, steps=(), block=known.block
    )


@contextmanager
def asking(host: Host, folder: Path, account: Account = ALICE, job: bytes = b"") -> Iterator[Asker]:
    """A user; ``job`` names another service than the one that it knows."""

    def signed(grant: Grant) -> HexBytes:
        return sign(grant.digest(CHAIN_ID, MARKET), account.wallet)

    service = service_of(host)
    spending = Spending(grants=2, cap=200, budget=400)
    with closing(ServiceHost(host.server.url, JobId(Bytes32(job or service.facts.job_id)))) as carrier:
        yield Asker(service, GrantShelf(folder), ReceiptFile(folder), carrier, signed, spending, wait=0.0)


def test_an_account_without_a_tab_is_refused_and_keeps_its_number(host: Host, tmp_path: Path) -> None:
    with asking(host, tmp_path, Account(0x63)) as asker:
        for _ in range(2):
            with pytest.raises(RequestRefused) as refused:
                said(asker, b"hello", most=10)
            assert refused.value.code is SessionCode.NO_TAB
    assert not (tmp_path / FILE).exists()


def test_an_endpoint_that_no_owner_allows_is_refused(host: Host, tmp_path: Path) -> None:
    with asking(host, tmp_path) as asker, pytest.raises(RequestRefused) as refused:
        said(asker, b"hello", endpoint="score", most=10)
    assert refused.value.code is SessionCode.ENDPOINT_REFUSED


def test_a_host_that_serves_no_such_service_costs_nothing(host: Host, tmp_path: Path) -> None:
    with asking(host, tmp_path, job=b"\x77" * 32) as asker:
        with pytest.raises(HostRefused, match="404"):
            said(asker, b"hello", most=10)
        assert [grant.number for grant in asker._shelf.grants.values()] == [0]


def test_answers_of_a_real_enclave_are_read_and_each_receipt_holds(host: Host, tmp_path: Path) -> None:
    with asking(host, tmp_path) as asker:
        for text in (b"one", b"two", json.dumps({"messages": ["x" * 100]}).encode()):
            assert said(asker, text, most=20) == text
        [grant] = asker._shelf.grants.values()
    kept = list(read_receipts(tmp_path / FILE))
    assert [int(one.signed.receipt.number) for one in kept] == [1, 2, 3]
    for one in kept:
        check_kept(one)
    assert grant.spent == int(kept[-1].signed.receipt.cumulative)


def test_a_user_that_went_away_and_comes_back_signs_another_grant_and_is_answered(host: Host, tmp_path: Path) -> None:
    with asking(host, tmp_path) as asker:
        begun = asker.ask("chat", b"wait", 20, lambda _: None)
        assert next(begun) == b"wait"
        begun.close()  # type: ignore[attr-defined]
    with asking(host, tmp_path) as asker:
        assert said(asker, b"hello", most=20) == b"hello"
        states = [(one.state, one.reserved) for one in asker._shelf.grants.values()]
    assert sorted(states) == [("idle", 0), ("retired", 20)]
