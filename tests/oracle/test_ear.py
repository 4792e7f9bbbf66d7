"""A node's decision as a token for other verifiers: by its own key, which the node signs for, and without a machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealmarket.attestation.policy.ear import EarRefused, read_ear
from sealmarket.private_files import NotPrivate
from sealmarket_enclave.protocol.codec import decode
from sealmarket_enclave.protocol.signing import personal_digest, recover
from sealmarket_oracle.api import create_app
from sealmarket_oracle.ear import KEY_DOMAIN, KEY_FILE, EarKey, Ears, own_key
from sealmarket_oracle.runner import Runner
from tests.oracle.test_api import Client, refused
from tests.oracle.world import NOW, OTHER_LAUNCH, World

MOMENT = datetime.fromtimestamp(NOW, UTC)


def _client(world: World, **quote: Any) -> Client:
    """A node that decided on one job."""
    journal = world.journal()
    ears = Ears(journal, world.keys[0].signer, own_key(world.folder / KEY_FILE), clock=lambda: NOW)
    node = world.node(journal_of=journal, ears=ears)
    world.match(world.publish())
    client = Client(create_app(node, Runner(node, 1.0)))
    assert refused(client.get(f"/v1/jobs/{world.job_id}/ear"), "not-found").remedy
    world.quote(**quote)
    world.decided(node)
    return client


def _part(client: Client, world: World) -> dict[str, Any]:
    """The submodule of the job's token, read as a stranger reads it who knows the node's account."""
    key = decode(EarKey, client.get("/v1/ear-key").content)
    assert recover(personal_digest(KEY_DOMAIN + bytes(key.key)), key.signature) == world.keys[0].signer.address
    answer = client.get(f"/v1/jobs/{world.job_id}/ear")
    assert answer.headers["content-type"] == "application/eat+jwt"
    public = load_der_public_key(bytes(key.key))
    assert isinstance(public, EllipticCurvePublicKey)
    with pytest.raises(EarRefused):
        read_ear(answer.text, public, datetime.fromtimestamp(NOW + 301, UTC))
    part: dict[str, Any] = read_ear(answer.text, public, MOMENT)["submods"]["tdx"]
    return part


def test_a_key_that_others_can_read_signs_no_token(tmp_path: Path) -> None:
    own_key(tmp_path / KEY_FILE)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(NotPrivate):
        own_key(tmp_path / KEY_FILE)


def test_evidence_that_is_not_authentic_is_contraindicated(world: World) -> None:
    part = _part(_client(world, collateral=""), world)
    assert part["ear.status"] == "contraindicated"
    assert set(part["ear.trustworthiness-vector"].values()) == {99}


def test_an_image_that_no_owner_allows_is_affirmed_by_no_token(world: World) -> None:
    part = _part(_client(world, launch=OTHER_LAUNCH), world)
    assert part["ear.status"] != "affirming"
    assert part["ear.trustworthiness-vector"]["executables"] == 33
    assert "measurement_not_allowed" in part["sealmarket.verdict"]["reasons"]


def test_an_accepted_job_is_affirmed_and_the_token_names_no_machine(world: World) -> None:
    client = _client(world)
    part = _part(client, world)
    assert part["ear.status"] == "affirming"
    assert part["sealmarket.verdict"]["outcome"] == "accepted"
    assert part["sealmarket.verdict"]["jobId"] == str(world.job_id)
    assert "ear.veraison.annotated-evidence" not in part


def test_a_key_lasts_across_a_restart(tmp_path: Path) -> None:
    first, second = own_key(tmp_path / KEY_FILE), own_key(tmp_path / KEY_FILE)
    assert first.private_numbers() == second.private_numbers()
