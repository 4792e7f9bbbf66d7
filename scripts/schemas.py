"""The JSON Schemas of the documents on the wire, as `docs/spec/schemas` carries them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scripts.toolchain import ROOT
from sealmarket.attestation.policy.rules import AppraisalPolicy
from sealmarket.attestation.registry import VendorRules
from sealmarket.client.asset_card import AssetCard
from sealmarket.client.platform_evidence import PlatformEvidence
from sealmarket.protocol import advisories, book, capability, orders, output_rules, proposals, wire
from sealmarket.protocol.schema import json_schema
from sealmarket.sealing.chunk_proof import ChunkProof
from sealmarket_enclave.protocol import card, job, policy, receipt, session, terms
from sealmarket_enclave.sealed.result import ResultEnvelope
from sealmarket_enclave.sealed.shares import ShareSet

FOLDER = ROOT / "docs" / "spec" / "schemas"
SHAPES: dict[str, type] = {
    "advisory": advisories.SignedAdvisory,
    "address-book": book.AddressBook,
    "asset-card": AssetCard,
    "asset-order": orders.AssetOrder,
    "capability": capability.Capability,
    "chunk-proof": ChunkProof,
    "compute-order": orders.ComputeOrder,
    "data-card": card.Card,
    "decision-detail": wire.DecisionDetail,
    "evidence-package": wire.EvidencePackage,
    "job-spec": job.JobSpec,
    "job-view": wire.JobView,
    "leaf-list": wire.LeafList,
    "challenge-status": wire.ChallengeStatus,
    "node-status": wire.NodeStatus,
    "platform-evidence": PlatformEvidence,
    "policy": policy.PolicyDocument,
    "posted-result": wire.PostedResult,
    "proposal": proposals.SignedProposal,
    "proposal-answer": proposals.SignedAnswer,
    "reader-report": card.ReaderReport,
    "receipt-envelope": receipt.Envelope,
    "receipt-statement": receipt.Statement,
    "request": orders.Request,
    "result-envelope": ResultEnvelope,
    "session-abort": session.Abort,
    "session-header": session.SessionHeader,
    "session-receipt": session.SignedReceipt,
    "session-refusal": session.Refusal,
    "session-renewal": session.SignedRenewal,
    "session-statement": session.SignedStatement,
    "session-terms": session.SessionTerms,
    "share-set": ShareSet,
    "signed-decision": wire.SignedDecision,
    "rules-json": output_rules.JsonRules,
    "rules-membership": output_rules.MembershipRules,
    "rules-onnx": output_rules.OnnxRules,
    "rules-safetensors": output_rules.SafetensorsRules,
    "rules-table": output_rules.TableRules,
    "terms": terms.Terms,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by the name of its file. Those of policy and capability hold those of their evidence rules."""
    made = {name: json_schema(shape) for name, shape in SHAPES.items()}
    rules = json_schema(AppraisalPolicy)
    whole = made["policy"]
    whole["$defs"] |= rules["$defs"]
    whole["$defs"]["PolicyDocument"]["properties"]["evidence"] = {"$ref": "#/$defs/AppraisalPolicy"}
    _fill_capability(made["capability"]["$defs"], rules["$defs"])
    return made


def _fill_capability(parts: dict[str, Any], rules: dict[str, Any]) -> None:
    fields, appraisal = parts["Capability"]["properties"], rules["AppraisalPolicy"]["properties"]
    parts |= {name: rule for name, rule in rules.items() if name != "AppraisalPolicy"}
    fields["measurements"]["items"] = appraisal["measurements"]["items"]
    sections = {name: appraisal[name] for name in VendorRules.__struct_fields__}
    levels = {"type": "object", "additionalProperties": False, "properties": sections}
    fields["minTcb"] = {"anyOf": [levels, {"type": "null"}], "default": None}


def differing(folder: Path = FOLDER) -> list[str]:
    """The files that are not what the shapes say."""
    wanted = {f"{name}.json": _text(schema) for name, schema in schemas().items()}
    found = {path.name: path.read_text() for path in folder.glob("*.json")}
    return sorted(name for name in wanted | found if wanted.get(name) != found.get(name))


def main(words: list[str]) -> int:
    """Write the schemas, or with `--check` compare them; exit status 1 when they differ."""
    parser = argparse.ArgumentParser(prog="scripts/export_schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if parser.parse_args(words).check:
        names = differing()
        for name in names:
            print(f"{name} is not what the shape says: run scripts/export_schemas", file=sys.stderr)
        return 1 if names else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, schema in schemas().items():
        (FOLDER / f"{name}.json").write_text(_text(schema))
    print(f"wrote {len(SHAPES)} schemas to {FOLDER.relative_to(ROOT)}")
    return 0


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
