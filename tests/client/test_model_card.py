"""A card carries what a verified proof shows, marks what a workload claims, and is made of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from sealmarket.receipts.model import Trusted
from sealmarket.receipts.model_card import MAXIMUM_METRICS, MOST_METRICS, CardRefused, Opened, markdown, model_card
from sealmarket.receipts.verify import verify_receipt
from sealmarket_enclave.protocol.codec import canonical_json, parse_json
from sealmarket_enclave.protocol.hashing import keccak, sha256
from tests.client.bundles import Case

CASE = Case()


def verified(bundle: Any, *, chain: bool = True) -> Any:
    facts = CASE.facts(bundle) if chain else None
    return verify_receipt(bundle, Trusted(book=CASE.book, facts=facts, roots=None))


def card(name: str = "Line", outputs: dict[str, bytes] | None = None, bundle: Any = None) -> Any:
    bundle = bundle or CASE.bundle()
    return model_card(bundle, verified(bundle), name, opened=Opened(outputs) if outputs is not None else None)


def test_a_proof_that_no_chain_confirms_carries_no_card() -> None:
    bundle = CASE.bundle()
    with pytest.raises(CardRefused, match="consistent, not proven"):
        model_card(bundle, verified(bundle, chain=False), "Line")


def test_a_refuted_proof_and_one_with_parts_left_out_carry_no_card() -> None:
    lied = replace(CASE.bundle(), spec=replace(CASE.bundle().spec, purpose=2))
    for bundle in (lied, replace(CASE.bundle(), policies=())):
        with pytest.raises(CardRefused):
            model_card(bundle, verified(bundle), "Line")


def test_a_card_names_assets_workload_grade_and_receipt_of_the_proof() -> None:
    bundle = CASE.bundle()
    made = card(bundle=bundle)
    assert made.conclusion == "confirmed by the chain"
    assert [(one.asset_id, one.version) for one in made.trained_on] == [
        (use.asset_id, use.version) for use in bundle.spec.assets
    ]
    assert (made.workload_digest, made.receipt_hash) == (bundle.spec.workload_digest, keccak(bundle.receipt or b""))
    assert (made.grade, made.outputs, made.metrics) == ("simulated", (), {})


def test_metrics_are_under_claims_and_outputs_under_verified_values() -> None:
    made = card(outputs={"metrics.json": b'{"r2": 0.5, "curve": [1, 2]}', "model.onnx": b"\x00"})
    assert made.metrics == {"r2": 0.5}
    assert [(one.name, one.sha256) for one in made.outputs][1] == ("model.onnx", sha256(b"\x00"))
    text = markdown(made)
    assert text.index("## Verified") < text.index("model.onnx") < text.index("## Claimed by the workload")
    assert text.index("## Claimed by the workload") < text.index("| r2 | 0.5 |")
    assert "> **SIMULATED**" in text


def test_hostile_outputs_and_names_are_bounded_and_neither_markup_nor_control_characters() -> None:
    many = canonical_json({f"m{n}": n for n in range(MOST_METRICS + 50)})
    huge = b'{"x": "' + b"a" * MAXIMUM_METRICS + b'"}'
    nested = b"[" * 5000
    made = card(
        "x](javascript:1)<script>|\x1b[2J\n# h",
        {"a.json": many, "b.json": huge, "c.json": nested, "d.json": b'{"<img src=x>": "|\\n## Verified"}'},
    )
    assert len(made.metrics) == MOST_METRICS
    body = markdown(made).partition("---\n\n")[2]
    assert "<script>" not in body
    assert "\x1b" not in body
    assert body.count("\n## Verified") == 1
    assert body.count("\n# ") == 0


def test_the_front_matter_is_yaml_of_json_scalars_with_the_hubs_fields() -> None:
    front = markdown(card('a": b\n---\n')).split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in front.strip().split("\n"))
    read = {name: parse_json(value) for name, value in fields.items()}
    assert read["model_name"] == 'a": b\n---\n'
    assert read["datasets"] == [f"sealmarket:{one.asset_id}:{one.version}" for one in card().trained_on]
    assert {"tags", "metrics", "sealmarket"} <= set(read)
