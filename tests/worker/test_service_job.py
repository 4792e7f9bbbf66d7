"""A whole host carries a service from its match to its settlement, over twins of chain, store and nodes."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from sealmarket.protocol.renewals import RenewalRequest
from sealmarket.protocol.services import EvidenceRequest, ServiceDocument
from sealmarket.protocol.transitions import Status
from sealmarket.protocol.wire import EvidencePackage
from sealmarket.sealing.evidence import About, read_evidence
from sealmarket_enclave.protocol.codec import Bytes32, HexBytes, Uint64, decode, decode_canonical
from sealmarket_enclave.protocol.hashing import sha256
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.session import Renewal, SignedReceipt, SignedRenewal, TabState
from sealmarket_enclave.protocol.signing import recover, sign
from sealmarket_enclave.runtime.kinds import session
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.sealed.session import AnswerReader
from sealmarket_worker.gateway import Gateway
from sealmarket_worker.hosting import StatementLog
from sealmarket_worker.listener import Server
from sealmarket_worker.service_money import STATEMENTS
from sealmarket_worker.serving_job import TERMS, Services
from tests.enclave.scene import CHAIN_ID, MARKET, Scene
from tests.enclave.session.services import Account, Users, service_scene
from tests.patience import PATIENCE, until
from tests.worker.twins import HostTwin

pytestmark = pytest.mark.loopback

ALICE = Account(0x61)


class RenewingNodes:
    """What oracle nodes answer over HTTP: each signs that every account that is named has a tab."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.asked = 0

    def __call__(self, url: str, body: bytes) -> bytes | None:
        self.asked += 1
        place, job_id = int(url.split("/")[2].rpartition("-")[2]), url.split("/")[5]
        if place == 0:
            return None  # this one is down, and t of the others are enough
        asked = decode(RenewalRequest, body)
        renewal = Renewal(
            job_id=self._scene.spec.job_id(CHAIN_ID, MARKET),
            nonce=asked.nonce,
            block_number=asked.block_number,
            block_time=1000,
            redeemed=Uint64(0),
            tabs=tuple(TabState(account=one, units=Uint64(500), closing=False) for one in asked.accounts),
        )
        assert job_id == str(renewal.job_id)
        signature = sign(renewal.digest(CHAIN_ID, MARKET), self._scene.nodes[place].signing)
        return SignedRenewal(renewal=renewal, signature=signature).canonical()


def hosted(folder: Path) -> tuple[HostTwin, Gateway, RenewingNodes]:
    """A host whose image is for services."""
    scene = service_scene(folder / "scene")
    host, gateway, nodes = HostTwin(scene, folder / "host"), Gateway(), RenewingNodes(scene)
    host.services = Services(gateway, nodes, host.folder, look_seconds=0.05)
    host.driver.kind, host.driver.strict = session.KIND, True
    host.start()
    return host, gateway, nodes


@pytest.mark.long
def test_a_service_without_its_terms_ends_unsigned_and_says_what_is_missing(tmp_path: Path) -> None:
    host, _, _ = hosted(tmp_path)
    host.match()
    host.run()
    assert "terms of the service" in host.messages()
    host.close()


def test_a_host_for_batch_jobs_leaves_services_alone(tmp_path: Path) -> None:
    host = HostTwin(service_scene(tmp_path / "scene"), tmp_path / "host")
    host.match()
    host.run()
    assert host.story() == []
    host.close()


def test_a_service_is_hosted_from_its_match_to_its_settlement(tmp_path: Path) -> None:
    host, gateway, nodes = hosted(tmp_path)
    users = Users(host.scene)
    folder = host.folder / TERMS
    folder.mkdir()
    (folder / f"{host.scene.spec.extension_hash.hex()}.json").write_bytes(users.terms.canonical())
    job_id = host.match()
    running = threading.Thread(target=host.run, daemon=True)
    with Server(gateway, "127.0.0.1", 0) as server:
        running.start()
        base = f"{server.url}/v1/services/{job_id}"
        shown = until("it serves", lambda: _document(base))
        assert shown.terms == users.terms
        package = _evidence(base)
        assert HexBytes(package.enclave_key) == shown.enclave_key
        users.sealed_to = (shown.enclave_key, shown.evidence_hash)
        # The account is named to the nodes once it has asked; until then it has no tab in a renewal.
        receipt = until("a renewal has the account's tab", lambda: _asked(users, base))
        assert recover(receipt.receipt.digest(CHAIN_ID, MARKET), receipt.signature) == package.enclave_signer
        assert nodes.asked >= 6  # three nodes, for the first lease and for the account
        host.drain.set()
        running.join(PATIENCE)
        assert not running.is_alive()
        assert httpx.get(base, timeout=PATIENCE).status_code == 404
    assert host.chain.at(host.chain.head()).job(host.scene.spec.request_hash).status is Status.SETTLED
    last = list(StatementLog(host.folder / STATEMENTS, job_id).all())[-1].statement
    assert last.last
    assert [(entry.account, entry.units) for entry in last.entries] == [(ALICE.address, 7)]
    assert ("serve", "done") in host.story()
    host.close()


def _document(base: str) -> ServiceDocument | None:
    answer = httpx.get(base, timeout=PATIENCE)
    return decode_canonical(ServiceDocument, answer.content) if answer.status_code == 200 else None


def _evidence(base: str) -> EvidencePackage:
    key = PrivateKey.generate()
    asked = EvidenceRequest(key=HexBytes(key.public.raw)).canonical()
    sealed = read_evidence(httpx.post(f"{base}/evidence", content=asked, timeout=PATIENCE).content)
    job_id = JobId(Bytes32.parse(base.rpartition("/")[2]))
    about = About(chain_id=CHAIN_ID, market=MARKET, job_id=job_id, evidence_hash=sealed.evidence_hash, epoch=1)
    return decode(EvidencePackage, sealed.opened(key, about))


def _asked(users: Users, base: str) -> SignedReceipt | None:
    sealed, secret = users.seal(users.session(ALICE), b"hello")
    answer = httpx.post(f"{base}/requests", content=sealed, timeout=PATIENCE)
    assert answer.status_code == 200
    reader = AnswerReader(secret, sha256(sealed))
    final = list(reader.feed(answer.content))[-1]
    return decode_canonical(SignedReceipt, final.payload) if b"receipt" in final.payload else None
