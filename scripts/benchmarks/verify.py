"""Verifications of evidence per second and core, beside the bare checks that no verifier can avoid.

`verify_sgx`, `verify_tdx`: parse, authenticate and appraise quotes of a known platform, each over report data of
its own, beside dcap-qvl alone on the same quotes and collateral. `verify_snp`: a report of a known chip beside its
one P-384 check. `verify_nitro`: a document of a known enclave beside its one P-384 check; `verify_cca`: a token
beside its two. `verify_nvidia`: reports of a known GPU, each over a nonce of its own, with its manifests and OCSP
answers known, beside the one P-384 check; `verify_nvidia_fleet` takes manifests and answers out of the store of a fleet
of 100 GPUs, beside the store of one. The results named `_first` have each quote from a machine that was never
seen before, of one TCB level and under one CA as a fleet is: its PCK certificate, quoting enclave and quote are proven,
and dcap-qvl's second opinion is asked for, beside dcap-qvl alone. Each round is a fresh process in which both sides
take turns; CPU time counts, so that another load on the machine counts little. Quotes come from the test forge, reports
from hardware.
"""

from __future__ import annotations

import argparse
import atexit
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.forge.intel import IntelForge

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "verify_sgx": 0.8,
    "verify_tdx": 0.8,
    "verify_snp": 0.8,
    "verify_nitro": 0.8,
    "verify_cca": 0.8,
    "verify_nvidia": 0.6,
    "verify_nvidia_fleet": 0.8,
    "verify_sgx_first": 0.6,
    "verify_tdx_first": 0.6,
}
BESIDE = {
    "verify_sgx": "dcap-qvl",
    "verify_tdx": "dcap-qvl",
    "verify_snp": "P-384",
    "verify_nitro": "P-384",
    "verify_cca": "2 P-384",
    "verify_nvidia": "P-384",
    "verify_nvidia_fleet": "1 GPU",
    "verify_sgx_first": "dcap-qvl",
    "verify_tdx_first": "dcap-qvl",
}
FLEET = 100
"""GPUs whose documents the store of a fleet holds."""
QUOTES = 50
"""Warm-up calls of each side."""
COUNT, TURNS = 25, 8
"""Calls in a turn, and turns of each side."""
Call = Callable[[], object]


def main(arguments: Sequence[str]) -> int:
    """Run all, print a table or JSON; 1 when a ratio is below its target."""
    parser = argparse.ArgumentParser(prog="scripts/bench verify", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=7, help="fresh processes for each measurement")
    parser.add_argument("--only", choices=TARGETS, help="one measurement")
    parser.add_argument("--one", choices=TARGETS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(_round(chosen.one)))
        return 0
    results = [_measure(name, chosen.rounds) for name in ([chosen.only] if chosen.only else TARGETS)]
    if chosen.json:
        print(json.dumps({"bench": "verify", "results": results}))
    else:
        for r in results:
            line = "{name:19} {value:7.0f} {unit}  beside {beside} {beside_value:7.0f}  ratio {ratio:.2f} (>= {target})"
            print(line.format(**r))
    return 0 if all(float(str(r["ratio"])) >= TARGETS[str(r["name"])] for r in results) else 1


def _measure(name: str, rounds: int) -> dict[str, object]:
    command = [sys.executable, "-m", "scripts.benchmarks.verify", "--one", name]
    pairs = []
    for _ in range(rounds):
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        pairs.append(json.loads(done.stdout))
    return {
        "name": name,
        "value": statistics.median(ours for ours, _ in pairs),
        "unit": "1/s per core",
        "beside": BESIDE[name],
        "beside_value": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ours / theirs for ours, theirs in pairs),
        "target": TARGETS[name],
    }


def _round(name: str) -> tuple[float, float]:
    """Verifications per CPU second of ours and of the other, taking turns."""
    ours, theirs = _cases()[name]()
    spent = [0.0, 0.0]
    for _ in range(QUOTES):
        ours(), theirs()
    for _ in range(TURNS):
        for side, call in enumerate((ours, theirs)):
            start = time.process_time()
            for _ in range(COUNT):
                call()
            spent[side] += time.process_time() - start
    return COUNT * TURNS / spent[0], COUNT * TURNS / spent[1]


def _cases() -> dict[str, Callable[[], tuple[Call, Call]]]:
    return {
        "verify_sgx": lambda: _intel("SGX", first=False),
        "verify_tdx": lambda: _intel("TDX", first=False),
        "verify_snp": _snp,
        "verify_nitro": _nitro,
        "verify_cca": _cca,
        "verify_nvidia": _nvidia,
        "verify_nvidia_fleet": _nvidia_fleet,
        "verify_sgx_first": lambda: _intel("SGX", first=True),
        "verify_tdx_first": lambda: _intel("TDX", first=True),
    }


def _intel(tee: str, *, first: bool) -> tuple[Call, Call]:
    import dcap_qvl

    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.attestation.core.evidence import Endorsements
    from sealmarket.attestation.intel.collateral import IntelCollateral
    from sealmarket.attestation.parse import parse
    from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
    from tests.forge.intel import IntelForge

    now = datetime(2026, 1, 1, tzinfo=UTC)
    forge = IntelForge(now)
    quotes = _quotes(forge, tee, machines=QUOTES + COUNT * TURNS if first else 1)
    text, root, roots = (
        forge.collateral(tee),
        forge.root.der,
        TrustAnchors.production().with_development(forge.root.der),
    )
    endorsements = Endorsements(collateral=IntelCollateral.from_json(text))
    engine, moment, expected = (
        dcap_qvl.QuoteCollateralV3.from_json(text),
        int(now.timestamp()),
        Expected(report_data=UNCHECKED),
    )
    mine, theirs_next = itertools.cycle(quotes), itertools.cycle(quotes)

    def ours() -> object:
        verdict = verify(parse(next(mine)), endorsements, roots, now, expected)
        if not verdict.accepted:
            raise RuntimeError(f"a forged quote is refused: {verdict.reasons}")
        return verdict

    return ours, lambda: dcap_qvl.verify_with_root_ca(next(theirs_next), engine, root, moment)


def _quotes(forge: IntelForge, tee: str, machines: int) -> list[bytes]:
    """Quotes over report data of their own: many of one machine, or one of each of several machines."""
    from sealmarket_devices.intel_format import SgxReport
    from tests.forge.intel import new_key

    quotes = []
    for number in range(max(machines, QUOTES)):
        if machines > 1:
            forge.pck = forge.new_pck(replace(forge.platform, ppid=number.to_bytes(16)))
            forge.attestation_key = new_key()
        data = number.to_bytes(64)
        if tee == "SGX":
            quotes.append(forge.sgx_quote(SgxReport(cpu_svn=forge.platform.component_svns, report_data=data)))
        else:
            quotes.append(forge.tdx_quote(forge.td_report(report_data=data)))
    return quotes


def _snp() -> tuple[Call, Call]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.attestation.core.evidence import Endorsements
    from sealmarket.attestation.parse import parse
    from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
    from tests.vectors import FOLDER

    raw = (FOLDER / "snp/TEE-Attestation-Verification-ms-genoa-v3.report.bin").read_bytes()
    files = ["snp/ms-genoa-v3.vcek.der", "snp/go-sev-guest-ask_ark_genoa.pem"]
    endorsements = Endorsements.read((FOLDER / name).read_bytes() for name in files)
    now, expected, roots = datetime(2026, 6, 1, tzinfo=UTC), Expected(report_data=UNCHECKED), TrustAnchors.production()
    verdict = verify(parse(raw), endorsements, roots, now, expected)
    if not verdict.authentic:
        raise RuntimeError(f"the SNP report does not verify: {verdict.reasons}")
    key = endorsements.certificates[0].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("a VCEK holds a P-384 key")
    r, s = (int.from_bytes(raw[at : at + 72], "little") for at in (0x2A0, 0x2A0 + 72))
    signature, algorithm = encode_dss_signature(r, s), ec.ECDSA(SHA384())
    return (
        lambda: verify(parse(raw), endorsements, roots, now, expected),
        lambda: key.verify(signature, raw[:0x2A0], algorithm),
    )


def _nvidia() -> tuple[Call, Call]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.attestation.core.evidence import Evidence
    from sealmarket.attestation.nvidia.documents import read_files
    from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
    from sealmarket_enclave.protocol.numbers import Tee
    from tests.forge.nvidia import NvidiaForge

    now = datetime(2026, 1, 1, tzinfo=UTC)
    forge = NvidiaForge(now)
    gpu = forge.gpu()
    chain, raws = tuple(gpu.chain()), [gpu.report(nonce=i.to_bytes(32)) for i in range(QUOTES)]
    endorsements = read_files([*forge.manifests(), *forge.answers(gpu)])
    roots = TrustAnchors.production().with_development(forge.root.der, forge.rim_root.der)
    mine, theirs, expected = itertools.cycle(raws), itertools.cycle(raws), Expected(report_data=UNCHECKED)
    key, algorithm = gpu.leaf.certificate.public_key(), ec.ECDSA(SHA384())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("a leaf holds a P-384 key")

    def ours() -> object:
        evidence = Evidence(tee=Tee.NVIDIA, raw=next(mine), certificates=chain)
        verdict = verify(evidence, endorsements, roots, now, expected)
        if not verdict.accepted or verdict.warnings:
            raise RuntimeError(f"a forged report is refused: {verdict.reasons}")
        return verdict

    def bare() -> object:
        raw = next(theirs)
        r, s = int.from_bytes(raw[-96:-48]), int.from_bytes(raw[-48:])
        return key.verify(encode_dss_signature(r, s), raw[:-96], algorithm)

    return ours, bare


def _nvidia_fleet() -> tuple[Call, Call]:
    from tempfile import mkdtemp

    from sealmarket.attestation.collateral.store import CollateralStore
    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.attestation.core.evidence import Evidence
    from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
    from sealmarket_enclave.protocol.numbers import Tee
    from tests.forge.nvidia import NvidiaForge

    now = datetime(2026, 1, 1, tzinfo=UTC)
    forge = NvidiaForge(now)
    gpus = [forge.gpu(number) for number in range(1, FLEET + 1)]
    roots = TrustAnchors.production().with_development(forge.root.der, forge.rim_root.der)
    folder, expected = Path(mkdtemp(prefix="sealmarket-bench-")), Expected(report_data=UNCHECKED)
    atexit.register(shutil.rmtree, folder)
    evidence = Evidence(tee=Tee.NVIDIA, raw=gpus[0].report(), certificates=tuple(gpus[0].chain()))

    def of_store(devices: int) -> Call:
        store = CollateralStore(folder / str(devices), roots)
        for document in (*forge.manifests(), *forge.answers(*gpus[:devices])):
            store.put_document(Tee.NVIDIA, document)

        def call() -> object:
            verdict = verify(evidence, store.endorsements_for(evidence, now), roots, now, expected)
            if not verdict.accepted or verdict.warnings:
                raise RuntimeError(f"a forged report is refused: {verdict.reasons}")
            return verdict

        return call

    return of_store(FLEET), of_store(1)


def _cca() -> tuple[Call, Call]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    from sealmarket.attestation.arm.token import read_token, realm_key
    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.attestation.parse import parse
    from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
    from sealmarket.attestation.registry import module_of
    from sealmarket_enclave.protocol.numbers import Tee
    from tests.forge.cca import CcaForge

    forge, now = CcaForge(), datetime(2026, 1, 1, tzinfo=UTC)
    raw = forge.token()
    token, module = read_token(raw), module_of(Tee.CCA)
    endorsements = module.read_files([forge.anchors(), forge.corim()])
    roots = TrustAnchors.production().with_development_keys(module.development_keys(endorsements))
    expected, algorithm = Expected(report_data=UNCHECKED), ec.ECDSA(SHA384())
    checks = []
    for cose, key in (
        (token.platform_cose, forge.cpak.public_key()),
        (token.realm_cose, realm_key(token.realm.rak)),
    ):
        halves = (int.from_bytes(cose.signature[:48]), int.from_bytes(cose.signature[48:]))
        checks.append((key, encode_dss_signature(*halves), cose.signed))

    def ours() -> object:
        verdict = verify(parse(raw), endorsements, roots, now, expected)
        if not verdict.accepted:
            raise RuntimeError(f"a forged CCA token is refused: {verdict.reasons}")
        return verdict

    def theirs() -> object:
        for key, signature, signed in checks:
            key.verify(signature, signed, algorithm)
        return None

    return ours, theirs


def _nitro() -> tuple[Call, Call]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA384

    from sealmarket.attestation.collateral.trust_anchors import TrustAnchors
    from sealmarket.attestation.core.evidence import Endorsements
    from sealmarket.attestation.nitro.document import read_document
    from sealmarket.attestation.parse import parse
    from sealmarket.attestation.policy.verify import UNCHECKED, Expected, verify
    from tests.vectors import FOLDER

    raw = parse((FOLDER / "nitro/dstack-nitro-1.bin").read_bytes()).raw
    document = read_document(raw)
    key = x509.load_der_x509_certificate(document.certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("an enclave's certificate holds a P-384 key")
    cose, algorithm = document.cose, ec.ECDSA(SHA384())
    signature = encode_dss_signature(int.from_bytes(cose.signature[:48]), int.from_bytes(cose.signature[48:]))
    now, expected, roots = document.timestamp, Expected(report_data=UNCHECKED), TrustAnchors.production()

    def ours() -> object:
        verdict = verify(parse(raw), Endorsements(), roots, now, expected)
        if not verdict.accepted:
            raise RuntimeError(f"the Nitro document does not verify: {verdict.reasons}")
        return verdict

    return ours, lambda: key.verify(signature, cose.signed, algorithm)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
