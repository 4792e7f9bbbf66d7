"""A provider's host lies at each arrow. It wastes its own stake, and gains nothing (invariant 7)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import coincurve
import msgspec
import pytest

from sealmarket.chain import Fault, Reverted
from sealmarket.client.jobs import JobRecord
from sealmarket.protocol.transitions import Status
from sealmarket.workloads.folders import read_bundle
from sealmarket_enclave.protocol.codec import Address, Bytes32, HexBytes, decode_canonical
from sealmarket_enclave.protocol.hashing import keccak
from sealmarket_enclave.protocol.job import JobSpec, evidence_hash, result_keys_hash
from sealmarket_enclave.protocol.numbers import JobId
from sealmarket_enclave.protocol.signing import sign
from sealmarket_enclave.runtime.channel import Evidence, Load
from sealmarket_enclave.sealed.hpke import PrivateKey
from sealmarket_enclave.workload.bundle import pack
from sealmarket_worker.errors import EnclaveRefused
from sealmarket_worker.journal import JobState
from sealmarket_worker.session import EnclaveSession, Outcome
from tests.acceptance import workloads
from tests.acceptance.host import Bent, BentDriver, Host
from tests.acceptance.market import OWNERS, PENALTY, PRICES, WINDOWS, Rehearsal, changes, names_of
from tests.patience import until

OWED = sum(PRICES.values())
Change = Callable[[Load, Rehearsal, Path], Load]


def _another_workload(load: Load, rehearsal: Rehearsal, folder: Path) -> Load:
    greedy = workloads.other(rehearsal.workload, folder / "greedy", workloads.GREEDY)
    return msgspec.structs.replace(load, workload=pack(read_bundle(greedy.bundle)))


def _an_edited_dependency(load: Load, rehearsal: Rehearsal, folder: Path) -> Load:
    assert load.environment is not None
    edited = folder / "edited"
    shutil.copytree(load.environment, edited)
    (edited / "tiny" / "__init__.py").write_text("WORD = open('/proc/self/environ').read()\n")
    return msgspec.structs.replace(load, environment=str(edited))


def _a_bytecode_file_beside_a_dependency(load: Load, rehearsal: Rehearsal, folder: Path) -> Load:
    assert load.environment is not None
    edited = folder / "bytecode"
    shutil.copytree(load.environment, edited)
    (edited / "tiny" / "__pycache__").mkdir(exist_ok=True)
    (edited / "tiny" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"\xa7\r\r\n" + bytes(12))
    return msgspec.structs.replace(load, environment=str(edited))


def _the_hosts_own_result_key(load: Load, rehearsal: Rehearsal, folder: Path) -> Load:
    return msgspec.structs.replace(load, result_keys=(bytes(PrivateKey.generate().public.raw),))


def _a_specification_with_the_hosts_result_key(load: Load, rehearsal: Rehearsal, folder: Path) -> Load:
    key = bytes(PrivateKey.generate().public.raw)
    spec = msgspec.structs.replace(decode_canonical(JobSpec, load.spec), result_keys_hash=result_keys_hash([key]))
    return msgspec.structs.replace(load, spec=spec.canonical(), result_keys=(key,))


def _looser_output_rules(load: Load, rehearsal: Rehearsal, folder: Path) -> Load:
    policies = tuple((raw or b"").replace(b'"maxOutputs":1', b'"maxOutputs":9') for raw in load.policies)
    return msgspec.structs.replace(load, policies=policies)


SWAPS: Mapping[str, tuple[Change, str]] = {
    "another workload": (_another_workload, "workload_mismatch"),
    "an edited dependency": (_an_edited_dependency, "environment_mismatch"),
    "bytecode beside a dependency": (_a_bytecode_file_beside_a_dependency, "environment_mismatch"),
    "its own result key": (_the_hosts_own_result_key, "result_key_mismatch"),
    "a specification with its own result key": (_a_specification_with_the_hosts_result_key, "job_mismatch"),
    "looser output rules": (_looser_output_rules, "policy_mismatch"),
}


class _Probing(Bent):
    """Offers the enclave one changed load after another; each must be refused before anything is quoted."""

    def __init__(self, rehearsal: Rehearsal, folder: Path) -> None:
        self.rehearsal, self.folder = rehearsal, folder
        self.refusals: dict[str, str] = {}

    def load(self, load: Load) -> Load:
        for name, (change, _code) in SWAPS.items():
            driver = BentDriver(self.rehearsal.market.device_socket, self.rehearsal.image, Bent())
            with driver.launch() as session:
                try:
                    session.load(change(load, self.rehearsal, self.folder))
                except EnclaveRefused as error:
                    self.refusals[name] = str(error.code)
                else:
                    self.refusals[name] = "quoted"
        return load


def test_whatever_the_host_swaps_is_refused_before_a_quote_and_the_honest_job_still_settles(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    probing = _Probing(rehearsal, tmp_path)
    with Host(rehearsal, tmp_path / "host", probing) as host:
        job_id = rehearsal.job(provider="host")
        host.entry(job_id, JobState.DONE)
    assert probing.refusals == {name: code for name, (_change, code) in SWAPS.items()}
    assert rehearsal.consumer.open_result(job_id, rehearsal.result_key)


# --- evidence -------------------------------------------------------------------------------------------------


class _OtherJob(Bent):
    """Has the enclave attest a specification with the host's own result key, and shows that for the real job."""

    def load(self, load: Load) -> Load:
        self.real = load.job_id
        key = bytes(PrivateKey.generate().public.raw)
        spec = msgspec.structs.replace(decode_canonical(JobSpec, load.spec), result_keys_hash=result_keys_hash([key]))
        job_id = spec.job_id(load.chain_id, Address(load.market))
        return msgspec.structs.replace(load, spec=spec.canonical(), result_keys=(key,), job_id=job_id)

    def evidence(self, evidence: Evidence) -> Evidence:
        return msgspec.structs.replace(evidence, job_id=self.real)


class _Replay(Bent):
    """Shows the evidence that an earlier job was accepted by."""

    kept: Evidence | None = None

    def evidence(self, evidence: Evidence) -> Evidence:
        if self.kept is None:
            self.kept = evidence
            return evidence
        return msgspec.structs.replace(self.kept, job_id=evidence.job_id)


class _OwnKeys(Bent):
    """Puts an HPKE key of the host's own in place of the enclave's, so that shares would be sealed to the host."""

    def evidence(self, evidence: Evidence) -> Evidence:
        key = bytes(PrivateKey.generate().public.raw)
        found = evidence_hash(evidence.quote, Address(evidence.signer), keccak(key), Bytes32(evidence.block_hash))
        return msgspec.structs.replace(evidence, enclave_key=key, evidence_hash=found)


def _refused(rehearsal: Rehearsal, job_id: JobId) -> JobRecord:
    return rehearsal.reach_status(job_id, Status.REFUSED)


def _assert_only_the_penalty_moved(rehearsal: Rehearsal, before: Mapping[str, int]) -> None:
    moved = changes(before, rehearsal.balances())
    assert moved == {"host": -PENALTY, "burned": PENALTY - rehearsal.fees(2)}


def test_evidence_over_the_hosts_result_key_is_refused_at_the_providers_cost(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before = rehearsal.still()
    with Host(rehearsal, tmp_path, _OtherJob()):
        record = _refused(rehearsal, rehearsal.job(provider="host"))
    assert record.fault is Fault.PLATFORM_REFUSED
    assert "evidence_not_for_job" in names_of(record.reasons)
    _assert_only_the_penalty_moved(rehearsal, before)


def test_an_enclave_key_of_the_hosts_own_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with Host(rehearsal, tmp_path, _OwnKeys()):
        record = _refused(rehearsal, rehearsal.job(provider="host"))
    assert record.fault is Fault.PLATFORM_REFUSED
    assert "evidence_not_for_job" in names_of(record.reasons)


def test_yesterdays_evidence_is_refused_today(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with Host(rehearsal, tmp_path, _Replay()) as host:
        host.entry(rehearsal.job(provider="host"), JobState.DONE)
        before = rehearsal.still()
        record = _refused(rehearsal, rehearsal.job(provider="host"))
    assert record.fault is Fault.PLATFORM_REFUSED
    assert names_of(record.reasons) & {"evidence_not_for_job", "block_not_recent"}
    _assert_only_the_penalty_moved(rehearsal, before)


def test_an_image_that_no_owner_listed_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(rehearsal.image, image)
    entry = image / "__main__.py"
    entry.chmod(0o644)
    entry.write_text(entry.read_text() + "\n# one line more\n")
    before = rehearsal.still()
    with Host(rehearsal, tmp_path / "host", image=image):
        record = _refused(rehearsal, rehearsal.job(provider="host"))
    # Its offer promised no image, so no party is charged.
    assert record.fault is Fault.TERMS_REFUSED
    assert names_of(record.reasons) == {"measurement_not_allowed"}
    assert changes(before, rehearsal.balances()) == {"consumer": -rehearsal.fees(2)}


# --- two enclaves, chunks, results ----------------------------------------------------------------------------


class _Twins(Bent):
    """Runs a second enclave for the same job, and brings the releases to that one first."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.second: EnclaveSession | None = None
        self.second_evidence: Evidence | None = None
        self.second_missing: list[int] = []

    def load(self, load: Load) -> Load:
        driver = BentDriver(self.rehearsal.market.device_socket, self.rehearsal.image, Bent())
        self.second = driver.launch()
        self.second_evidence = self.second.load(load)
        return load

    def releases(self, releases: Sequence[bytes]) -> Sequence[bytes]:
        assert self.second is not None
        self.second_missing.append(self.second.deliver(releases).missing)
        return releases


def test_a_second_enclave_for_one_job_gets_no_share_and_no_place_on_chain(rehearsal: Rehearsal, tmp_path: Path) -> None:
    twins = _Twins(rehearsal)
    with Host(rehearsal, tmp_path, twins) as host:
        job_id = rehearsal.job(provider="host")
        entry = host.entry(job_id, JobState.QUOTED, JobState.FINISHED, JobState.DONE)
        assert twins.second_evidence is not None
        second = Bytes32(twins.second_evidence.evidence_hash)
        assert second != entry.evidence_hash
        market = rehearsal.chain.market
        with pytest.raises(Reverted) as refusal:
            rehearsal.market.purses["host"].sender.send(market.quote(entry.spec, second))
        host.entry(job_id, JobState.DONE)
    assert refusal.value.name == "UnexpectedStatus"
    assert set(twins.second_missing) == {2}
    assert twins.second is not None
    twins.second.close()


class _BadChunks(Bent):
    """Serves the first container with one bit changed, or short."""

    def __init__(self, folder: Path, *, short: bool) -> None:
        self.folder, self.short = folder, short

    def containers(self, containers: Mapping[Bytes32, Path]) -> Mapping[Bytes32, Path]:
        served = dict(containers)
        root, path = next(iter(served.items()))
        raw = bytearray(path.read_bytes())
        raw[-5] ^= 1
        served[root] = self.folder / "served"
        served[root].write_bytes(raw[:-40] if self.short else raw)
        return served


class _Keeps(Bent):
    """Keeps the enclave's word to itself: the result changes hands and nothing is posted."""

    kept: Outcome | None = None

    def outcome(self, outcome: Outcome) -> Outcome:
        self.kept = outcome
        raise RuntimeError("nothing is posted")


def _close_overdue(rehearsal: Rehearsal, *jobs: JobId) -> list[JobRecord]:
    """Let the time to settle pass, and wait until the keeper has closed the jobs."""
    rehearsal.pass_time(WINDOWS["settle_window"] + 1)
    return [rehearsal.reach_status(job, Status.EXPIRED) for job in jobs]


def test_a_host_that_edits_or_withholds_chunks_pays_the_owners_from_its_stake(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    """Both at once, since what is waited for is the same clock."""
    before = rehearsal.still()
    jobs, reasons = [], []
    for short in (False, True):
        folder = tmp_path / str(short)
        with Host(rehearsal, folder, _BadChunks(tmp_path, short=short)) as host:
            jobs.append(rehearsal.job(provider="host"))
            reasons.append(host.entry(jobs[-1], JobState.GIVEN_UP).reason)
    assert "container_altered" in reasons[0]
    assert "container_withheld" in reasons[1]
    for record in _close_overdue(rehearsal, *jobs):
        assert record.fault is Fault.PROVIDER_SILENT
    moved = changes(before, rehearsal.balances())
    assert {name: moved[name] for name in OWNERS} == {name: 2 * PRICES[name] for name in OWNERS}
    assert moved["host"] == -2 * (OWED + PENALTY)
    assert moved["burned"] == 2 * (PENALTY - rehearsal.fees(2))


def test_when_consumer_and_provider_conspire_the_owners_are_paid_from_the_stake(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before = rehearsal.still()
    keeps = _Keeps()
    with Host(rehearsal, tmp_path, keeps):
        job_id = rehearsal.job(provider="host")
        until("the enclave's word", lambda: keeps.kept)
    assert keeps.kept is not None
    assert keeps.kept.container is not None
    (record,) = _close_overdue(rehearsal, job_id)
    assert record.fault is Fault.PROVIDER_SILENT
    moved = changes(before, rehearsal.balances())
    assert {name: moved[name] for name in OWNERS} == {name: int(PRICES[name]) for name in OWNERS}
    assert moved["host"] == -(OWED + PENALTY)
    assert "consumer" not in moved
    # Too late: the word that was kept back moves nothing any more.
    posted, enclave = keeps.kept.posted, record.enclave
    assert posted.settlement is not None
    assert enclave is not None
    call = rehearsal.chain.market.settle(record.spec, enclave, posted.settlement, posted.signature)
    with pytest.raises(Reverted) as refusal:
        rehearsal.market.purses["host"].sender.send(call)
    assert refusal.value.name == "UnexpectedStatus"


def test_results_of_another_job_forged_ones_and_second_ones_are_refused_by_the_contract(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    rehearsal.still()
    keeps = _Keeps()
    sender, market = rehearsal.market.purses["host"].sender, rehearsal.chain.market
    with Host(rehearsal, tmp_path / "first", keeps):
        first = rehearsal.job(provider="host")
        other = until("the first enclave's word", lambda: keeps.kept)
    keeps.kept = None
    with Host(rehearsal, tmp_path / "second", keeps):
        second = rehearsal.job(provider="host")
        own = until("the second enclave's word", lambda: keeps.kept)
    assert own.posted.settlement is not None
    assert other.posted.settlement is not None
    record = rehearsal.read(second)
    assert record.enclave is not None
    forger = coincurve.PrivateKey()
    book = rehearsal.market.book
    forged = HexBytes(sign(own.posted.settlement.digest(book.chain_id, book.market), forger))
    other_result = msgspec.structs.replace(own.posted.settlement, result_hash=other.posted.settlement.result_hash)
    tries = {
        "another job's word": (other.posted.settlement, other.posted.signature),
        "a forged signature": (own.posted.settlement, forged),
        "another result under the enclave's signature": (other_result, own.posted.signature),
    }
    before = rehearsal.balances()
    for name, (settlement, signature) in tries.items():
        with pytest.raises(Reverted) as refusal:
            sender.send(market.settle(record.spec, record.enclave, settlement, signature))
        assert refusal.value.name == "WrongEnclave", name
    wrong = replace(record.enclave, enclave_signer=Address(b"\x07" * 20))
    with pytest.raises(Reverted) as refusal:
        sender.send(market.settle(record.spec, wrong, own.posted.settlement, forged))
    assert refusal.value.name == "WrongCommitment"
    assert changes(before, rehearsal.balances()) == {}
    settle = market.settle(record.spec, record.enclave, own.posted.settlement, own.posted.signature)
    sender.send(settle)
    paid = rehearsal.balances()
    with pytest.raises(Reverted) as refusal:
        sender.send(settle)
    assert refusal.value.name == "UnexpectedStatus"
    assert changes(paid, rehearsal.balances()) == {}
    assert {name: paid[name] - before[name] for name in OWNERS} == {name: int(PRICES[name]) for name in OWNERS}
    rehearsal.still()
    rehearsal.reach_status(first, Status.EXPIRED)
    assert rehearsal.read(first).fault is Fault.PROVIDER_SILENT
    rehearsal.reach_status(second, Status.MATURED)
