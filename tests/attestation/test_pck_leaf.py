"""The one-pass reader of PCK leaves takes what ``cryptography`` takes, and no more."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from asn1crypto import core
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.attestation.core.errors import EvidenceRefused
from sealmarket.attestation.core.pki import common_name, seconds
from sealmarket.attestation.core.reasons import Reason
from sealmarket.attestation.core.unreadable import NOT_X509
from sealmarket.attestation.intel import pck
from sealmarket_devices.pki import certify
from tests.attestation.support import NOW, forged
from tests.forge.intel import IntelForge, new_key, private_key

FORGE = IntelForge(NOW)
Edit = Callable[[Any], None]


def signed_by_the_ca(signed: bytes, algorithm: bytes = bytes.fromhex("300a06082a8648ce3d040302")) -> bytes:
    """A certificate in DER of these signed bytes, whatever they are."""
    signature = private_key(FORGE.pck_ca).sign(signed, ec.ECDSA(SHA256()))
    content = signed + algorithm + core.OctetBitString(signature).dump()
    return b"".join((b"\x30\x82", len(content).to_bytes(2), content))


def edited(edit: Edit) -> bytes:
    """The forge's leaf after a change, signed anew."""
    signed = asn1.Certificate.load(FORGE.pck.der)["tbs_certificate"]
    edit(signed)
    return signed_by_the_ca(signed.dump(force=True))


def pem(der: bytes) -> bytes:
    return pck.BEGIN + b"\n" + base64.encodebytes(der) + pck.END


def refusal(der: bytes) -> Reason:
    """Why a quote with this leaf is refused; the forge's own leaf is known by then."""
    assert forged(FORGE, FORGE.tdx_quote()).accepted
    chain = pem(der) + b"\n" + FORGE.chain(FORGE.pck_ca, FORGE.root)
    (reason,) = forged(FORGE, FORGE.tdx_quote(chain=chain)).reasons
    return reason


def extension(signed: Any, oid: str) -> Any:
    return next(one for one in signed["extensions"] if one["extn_id"].dotted == oid)


def zero_serial(signed: Any) -> None:
    signed["serial_number"] = 0


def negative_serial(signed: Any) -> None:
    signed["serial_number"] = -1


def another_inner_algorithm(signed: Any) -> None:
    signed["signature"] = {"algorithm": "sha384_ecdsa"}


def ends_before_it_starts(signed: Any) -> None:
    start, end = signed["validity"]["not_before"].native, signed["validity"]["not_after"].native
    signed["validity"] = {"not_before": asn1.Time({"utc_time": end}), "not_after": asn1.Time({"utc_time": start})}


def another_version(signed: Any) -> None:
    signed["version"] = "v2"


def another_spelling_of_the_issuer(signed: Any) -> None:
    names = signed["issuer"].native
    signed["issuer"] = asn1.Name.build(names, use_printable=True)


def another_issuer(signed: Any) -> None:
    signed["issuer"] = asn1.Name.build({"common_name": "Intel SGX PCK Platform CA"})


def an_authority(signed: Any) -> None:
    extension(signed, "2.5.29.19")["extn_value"] = core.ParsableOctetString(asn1.BasicConstraints({"ca": True}).dump())


def an_unknown_critical_extension(signed: Any) -> None:
    signed["extensions"].append({"extn_id": "1.2.3.4", "critical": True, "extn_value": b"\x05\x00"})


def a_critical_sgx_extension(signed: Any) -> None:
    extension(signed, "1.2.840.113741.1.13.1")["critical"] = True


def two_sgx_extensions(signed: Any) -> None:
    signed["extensions"].append(extension(signed, "1.2.840.113741.1.13.1").copy())


def two_key_identifiers(signed: Any) -> None:
    signed["extensions"].append(extension(signed, "2.5.29.14").copy())


def no_sgx_extension(signed: Any) -> None:
    signed["extensions"] = [one for one in signed["extensions"] if one["extn_id"].dotted != "1.2.840.113741.1.13.1"]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (zero_serial, Reason.ENDORSEMENT_MALFORMED),
        (negative_serial, Reason.ENDORSEMENT_MALFORMED),
        (another_version, Reason.ENDORSEMENT_MALFORMED),
        (ends_before_it_starts, Reason.ENDORSEMENT_MALFORMED),
        (two_sgx_extensions, Reason.ENDORSEMENT_MALFORMED),
        (two_key_identifiers, Reason.ENDORSEMENT_MALFORMED),
        (another_inner_algorithm, Reason.CHAIN_INVALID),
        (another_issuer, Reason.CHAIN_INVALID),
        (another_spelling_of_the_issuer, Reason.CHAIN_INVALID),
        (an_authority, Reason.CHAIN_INVALID),
        (an_unknown_critical_extension, Reason.CHAIN_INVALID),
        (a_critical_sgx_extension, Reason.CHAIN_INVALID),
        (no_sgx_extension, Reason.PCK_EXTENSION),
    ],
)
def test_a_leaf_that_its_ca_signed_and_that_breaks_the_profile_is_refused(edit: Edit, reason: Reason) -> None:
    assert refusal(edited(edit)) is reason


@pytest.mark.parametrize(
    ("old", "new"),
    [("0603551d0e04160414", "0603551d0e04160214"), ("0603551d0f0101ff04040302", "0603551d0f0101ff04040202")],
    ids=["key identifier", "key usage"],
)
def test_a_leaf_with_an_extension_that_cannot_be_read_is_refused(old: str, new: str) -> None:
    signed = asn1.Certificate.load(FORGE.pck.der)["tbs_certificate"].dump()
    assert signed.count(bytes.fromhex(old)) == 1

    changed = signed.replace(bytes.fromhex(old), bytes.fromhex(new))
    assert refusal(signed_by_the_ca(changed)) is Reason.ENDORSEMENT_MALFORMED


@pytest.mark.parametrize("part", ["301306072a8648ce3d0201", "300a06082a8648ce3d040302"], ids=["key", "algorithm"])
def test_a_leaf_with_a_part_that_is_no_sequence_is_refused(part: str) -> None:
    signed = asn1.Certificate.load(FORGE.pck.der)["tbs_certificate"].dump()
    assert signed.count(bytes.fromhex(part)) == 1

    changed = signed.replace(bytes.fromhex(part), b"\x31" + bytes.fromhex(part)[1:])
    assert refusal(signed_by_the_ca(changed)) is Reason.CHAIN_INVALID


def test_a_leaf_with_a_key_of_no_whole_bytes_is_refused() -> None:
    """The unused bit is zero already, so the same point is there for a reader who passes over their number."""
    leaves = iter(FORGE.new_pck, None)
    leaf = next(one for one in leaves if not private_key(one).public_key().public_numbers().y & 1)
    signed = asn1.Certificate.load(leaf.der)["tbs_certificate"].dump()
    assert signed.count(bytes.fromhex("03420004")) == 1

    changed = signed.replace(bytes.fromhex("03420004"), bytes.fromhex("03420104"))
    assert refusal(signed_by_the_ca(changed)) is Reason.CHAIN_INVALID


def test_a_leaf_that_says_another_algorithm_outside_of_what_is_signed_is_refused() -> None:
    signed = asn1.Certificate.load(FORGE.pck.der)["tbs_certificate"].dump()

    assert refusal(signed_by_the_ca(signed, bytes.fromhex("300a06082a8648ce3d040303"))) is Reason.CHAIN_INVALID


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_a_leaf_with_a_key_on_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve).public_key()
    old = FORGE.pck.certificate
    value = old.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.840.113741.1.13.1")).value
    leaf = certify(old.subject, key, FORGE.pck_ca, FORGE.pck_ca.key, FORGE.period(), extensions=(value,))

    assert refusal(asn1.Certificate.load(leaf.public_bytes(Encoding.DER)).dump()) is Reason.CHAIN_INVALID


@pytest.mark.parametrize("noise", [b"-", b"=", b"\x00", b"A"])
def test_a_leaf_in_anything_but_base64_is_refused(noise: bytes) -> None:
    block = pem(FORGE.pck.der)
    chain = block[:200] + noise + block[200:] + b"\n" + FORGE.chain(FORGE.pck_ca, FORGE.root)

    assert forged(FORGE, FORGE.tdx_quote(chain=chain)).reasons == (Reason.ENDORSEMENT_MALFORMED,)


def by_the_library(der: bytes) -> tuple[Any, ...] | None:
    """What ``cryptography`` says of a leaf under the forge's CA; None where it refuses it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            leaf = x509.load_der_x509_certificate(der)
            leaf.verify_directly_issued_by(FORGE.pck_ca.certificate)
            key = leaf.public_key()
            assert len(list(leaf.extensions)) >= 1
    except (InvalidSignature, *NOT_X509):
        return None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return None
    period = seconds(leaf.not_valid_before_utc), seconds(leaf.not_valid_after_utc)
    return leaf.serial_number, common_name(leaf), period, key.public_numbers()


@given(st.data())
def test_a_leaf_that_is_taken_says_to_the_library_what_it_says_here(data: st.DataObject) -> None:
    signed = bytearray(asn1.Certificate.load(FORGE.pck.der)["tbs_certificate"].dump())
    for _ in range(data.draw(st.integers(0, 2))):
        signed[data.draw(st.integers(0, len(signed) - 1))] = data.draw(st.integers(0, 255))
    der = signed_by_the_ca(bytes(signed))
    try:
        leaf = pck.read_leaf(pem(der))
        pck.check_issued(leaf, pck.subject_of(FORGE.pck_ca.certificate), private_key(FORGE.pck_ca).public_key())
    except EvidenceRefused:
        return

    found = leaf.serial, leaf.name, (leaf.window.start, leaf.window.end), leaf.key.public_numbers()
    assert by_the_library(der) == found


def test_a_leaf_of_another_machine_is_taken_with_its_own_facts() -> None:
    other = FORGE.new_pck()

    leaf = pck.read_leaf(pem(other.der))

    assert leaf.serial == other.certificate.serial_number
    assert leaf.key.public_numbers() == other.certificate.public_key().public_numbers()  # type: ignore[union-attr]
    assert leaf.key.public_numbers() != new_key().public_key().public_numbers()
