"""No regular expression of the product takes more than linear time: held by rule, or reviewed by name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.structure.code import Module, modules
from tests.structure.expressions import expressions, faults, in_module

REVIEWED: dict[tuple[str, str | bytes | None], str] = {
    (
        "sealmarket_enclave.protocol.codec",
        rb'"(?:[^"\\]++|\\.?)*+"?',
    ): "possessive, and it matches wherever it starts, so no byte is read twice",
    (
        "sealmarket_enclave.workload.manifest",
        r"\A[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*:[a-z_][a-z0-9_]*\Z",
    ): "names are parted by characters that they do not contain, and it starts at one place",
    (
        "sealmarket_enclave.workload.manifest",
        r"\A[0-9]+\.[0-9]+\.[0-9]+\Z",
    ): "runs of digits that dots part, and it starts at one place",
    ("sealmarket.chain.abi", r"^(.*)\[(\d*)\]$"): "types in our own ABIs, of a few characters",
    ("sealmarket_localnet.programs", r"v(\d+)\.(\d+)\."): "what a program here prints about itself, at one place",
    (
        "sealmarket_localnet.programs",
        r"#define NODE_(MAJOR|MINOR)_VERSION (\d+)",
    ): "a header on this machine; starts at its literal text only",
    (
        "sealmarket.meters.tokens.code.tokens",
        None,
    ): "special tokens of the policies' own model by their text, and the blanks behind one, which are read once",
    (
        "sealmarket.workloads.templates.gguf-chat.code.grammars",
        None,
    ): "a grammar that the engine wrote, read token by token; each way begins with another character",
    ("sealmarket.workloads.templates.gguf-chat.code.runs", None): "runs of one class, which finditer reads once",
    ("sealmarket.workloads.templates.gguf-chat.code.runs", r"[^ \t\n\v\f\r]+"): "the same",
    ("sealmarket_localnet.processes", None): "expressions of our own for the logs of our own processes",
}


def test_every_regular_expression_is_linear_by_rule_or_reviewed() -> None:
    refused = {
        (found.module, found.text): ["made when the program runs"]
        if found.text is None
        else faults(found.text, searched=found.searched)
        for found in expressions()
    }
    assert {name: why for name, why in refused.items() if why and name not in REVIEWED} == {}
    assert {name for name in REVIEWED if not refused.get(name)} == set()  # the list holds nothing that is gone


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        (r"\s*(?:0[xX])?((?:[0-9a-fA-F]{2}\s*)+)", False),
        (r"[A-Za-z0-9+/_\-\s]+=*\s*", False),
        (r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", True),
        (r"-----BEGIN (CERTIFICATE|X509 CRL)-----.+?-----END \1-----", True),
        (r'"(?:[^"\\]++|\\.)*+(?:"|\Z)', True),
        (r"(a+)+$", False),
        (r"(a|ab)*c", False),
        (r"(.*)\1", False),
        (r"a{1,9999}a{1,9999}", False),
    ],
)
def test_an_expression_that_backtracks_is_refused(text: str, searched: bool) -> None:
    assert faults(text, searched=searched)


@pytest.mark.parametrize(
    "text", [r"0x[0-9a-f]*", r"0|[1-9][0-9]{0,77}", r"^(0x)?[0-9a-fA-F]*$", r"0x(?:[0-9a-f]{2})*+"]
)
def test_an_expression_that_reads_each_byte_once_passes(text: str) -> None:
    assert faults(text, searched=False) == []


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.search('(a+)+', text)",
        "import re\nX = re.compile('a+b')\nX.sub('', text)",
        "X = Meta(pattern='.*a.*')",
        "from re import compile",
        "import re\nre.match(made(), text)",
    ],
)
def test_each_way_to_use_an_expression_is_seen(source: str) -> None:
    (found,) = in_module(Module("one", Path("one.py"), ast.parse(source)))
    assert found.text is None or faults(found.text, searched=found.searched)


def test_certificates_and_crls_are_parsed_in_one_place() -> None:
    callers = {
        name
        for name, module in modules().items()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith(("load_pem_x509", "load_der_x509"))
    }
    # A virtual device reads its own authorities.
    assert callers == {
        "sealmarket.attestation.core.certificates",
        "sealmarket_devices.cca",
        "sealmarket_devices.gpu",
        "sealmarket_devices.intel_silicon",
        "sealmarket_devices.nitro",
        "sealmarket_devices.snp",
    }
