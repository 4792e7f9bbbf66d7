"""Coverage-guided fuzzing of each parser: ``python -m tests.attestation.fuzz_targets NAME [libFuzzer options]``.

A target feeds bytes to one parser and lets only its typed exceptions pass; anything else, a hang or unbounded memory is
a finding. Seeds are forged, so that the fuzzer starts behind the first checks.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

Target = Callable[[bytes], object]


def targets() -> dict[str, tuple[Target, tuple[type[Exception], ...]]]:
    """Each parser with the exceptions that it may raise."""
    from sealmarket.attestation.amd.report import read_report
    from sealmarket.attestation.arm.reading import read_document as read_cca_document
    from sealmarket.attestation.arm.token import read_token, realm_key
    from sealmarket.attestation.azure.hcl import read_hcl
    from sealmarket.attestation.azure.tpm import read_quote as read_tpm_quote
    from sealmarket.attestation.core.cbor import read_cbor
    from sealmarket.attestation.core.errors import (
        AttestationError,
        CollateralError,
        EventLogMalformed,
        EvidenceRefused,
        InvalidRules,
        NotEvidence,
    )
    from sealmarket.attestation.core.evidence import Endorsements
    from sealmarket.attestation.intel.collateral import IntelCollateral
    from sealmarket.attestation.intel.eventlog import read_event_log
    from sealmarket.attestation.intel.pck import BEGIN, END, read_leaf
    from sealmarket.attestation.intel.pki import read_chain
    from sealmarket.attestation.intel.quote import read_quote
    from sealmarket.attestation.intel.tcb import read_qe_identity, read_tcb_info
    from sealmarket.attestation.nitro.document import read_document
    from sealmarket.attestation.nitro.envelope import document_in_dstack
    from sealmarket.attestation.nvidia.documents import read_files
    from sealmarket.attestation.nvidia.ocsp import read_answer
    from sealmarket.attestation.nvidia.report import read_report as read_device_report
    from sealmarket.attestation.nvidia.rim import read_manifest
    from sealmarket.attestation.parse import parse
    from sealmarket.attestation.policy.rules import read_rules

    return {
        "evidence": (parse, (NotEvidence,)),
        "quote": (read_quote, (EvidenceRefused,)),
        "report": (read_report, (EvidenceRefused,)),
        "eventlog": (read_event_log, (EventLogMalformed,)),
        "collateral": (IntelCollateral.from_json, (CollateralError,)),
        "endorsement": (lambda raw: Endorsements.read([raw]), (CollateralError,)),
        "chain": (lambda raw: read_chain(raw.decode("latin-1"), "chain"), (EvidenceRefused,)),
        "leaf": (lambda raw: read_leaf(BEGIN + base64.b64encode(raw) + END), (EvidenceRefused,)),
        "tcbinfo": (lambda raw: read_tcb_info(raw.decode("latin-1")), (EvidenceRefused,)),
        "qeidentity": (lambda raw: read_qe_identity(raw.decode("latin-1")), (EvidenceRefused,)),
        "cbor": (lambda raw: read_cbor(raw, "input", tags=(18,), endless_map=True), (EvidenceRefused,)),
        "nitro": (read_document, (EvidenceRefused,)),
        "hcl": (read_hcl, (NotEvidence,)),
        "tpmquote": (read_tpm_quote, (EvidenceRefused,)),
        "cca": (read_token, (EvidenceRefused,)),
        "ccadocument": (read_cca_document, (CollateralError,)),
        "realmkey": (lambda raw: realm_key(raw or b"\0"), (EvidenceRefused,)),
        "dstack": (document_in_dstack, (NotEvidence,)),
        "device": (read_device_report, (EvidenceRefused,)),
        "manifest": (read_manifest, (EvidenceRefused,)),
        "devicefile": (lambda raw: read_files([raw]), (CollateralError,)),
        "answer": (read_answer, (EvidenceRefused,)),
        "rules": (read_rules, (InvalidRules, AttestationError)),
    }


def seeds() -> dict[str, list[bytes]]:
    """Inputs that each parser takes."""
    import json

    from tests.forge.azure import AzureForge
    from tests.forge.cca import CcaForge, cose_key
    from tests.forge.intel import IntelForge
    from tests.forge.nitro import NitroForge
    from tests.forge.nvidia import NvidiaForge

    forge = IntelForge(datetime(2026, 1, 1, tzinfo=UTC))
    cca, azure = CcaForge(), AzureForge(intel=forge)
    nitro = NitroForge(datetime(2026, 1, 1, tzinfo=UTC)).document()
    nvidia = NvidiaForge(datetime(2026, 1, 1, tzinfo=UTC))
    gpu, switch = nvidia.gpu(), nvidia.switch()
    quotes = [forge.tdx_quote(), forge.sgx_quote(), forge.tdx_quote(forge.td_report_15(), version=5)]
    collateral = json.loads(forge.collateral())
    return {
        "evidence": [*quotes, quotes[0].hex().encode(), json.dumps({"quote": quotes[0].hex()}).encode()],
        "quote": quotes,
        "report": [bytes([3, 0, 0, 0]) + bytes(0x30) + b"\x01" + bytes(1131)],
        "eventlog": [b'[{"imr":0,"event_type":1,"digest":"' + b"00" * 48 + b'"}]'],
        "collateral": [json.dumps(collateral).encode()],
        "endorsement": [forge.root.der, forge.root.pem.encode(), bytes.fromhex(collateral["pck_crl"])],
        "chain": [forge.chain()],
        "leaf": [forge.pck.der],
        "tcbinfo": [collateral["tcb_info"].encode()],
        "qeidentity": [collateral["qe_identity"].encode()],
        "cbor": [nitro],
        "nitro": [nitro],
        "hcl": [azure.hcl(azure.runtime(), bytes(1184), 2)],
        "tpmquote": [azure.message()],
        "cca": [cca.token(), cca.token(tag=907)],
        "ccadocument": [cca.anchors(), cca.corim(), cca.signed_corim(cca.cpak)],
        "realmkey": [cca.rak_point(), cose_key(cca.rak)],
        "dstack": [b"\0\x02" + (len(nitro) << 2 | 1).to_bytes(2, "little") + nitro + bytes(65) + b"\x08{}"],
        "device": [gpu.report(), switch.report()],
        "manifest": [*nvidia.manifests(), nvidia.switch_manifest()],
        "devicefile": [nvidia.manifest(), nvidia.answers(gpu)[0], base64.b64encode(nvidia.answers(gpu)[0])],
        "answer": nvidia.answers(gpu)[:2],
        "rules": [b'{"measurements":[],"platforms":"any"}'],
    }


def main() -> None:
    """Fuzz one target until the options' limits, or its first finding."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    name, corpus = sys.argv[1], Path(sys.argv[2])
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed{number}").write_bytes(seed)
    with atheris.instrument_imports(include=["sealmarket.attestation"]):
        target, allowed = targets()[name]

    def once(data: bytes) -> None:
        try:
            target(data)
        except allowed:
            return

    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
