"""Addresses of services: what a provider may name, and what no client is sent to."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealmarket.protocol.services import LONGEST_URL, ServiceAddress
from sealmarket_enclave.protocol.codec import decode, from_builtins, to_builtins
from sealmarket_enclave.protocol.errors import MalformedDocument
from tests.protocol.typed_data import published

GOOD = ("http://127.0.0.1:8600", "https://models.example.org", "https://a.b-c.example:65535/services/one")
BAD = (
    "ftp://models.example.org",
    "https://",
    "https://user:secret@models.example.org",
    "https://models.example.org?to=elsewhere",
    "https://models.example.org#part",
    "https://models.example.org:0",
    "https://models.example.org:65536",
    "https://models.example.org/../../admin",
    "https://models.example.org/",
    "https://-a.example",
    "https://a..example",
    "https://models.example.org\n",
    "https://models.example.org/\x1b[2J",
    "https://m\u043edels.example.org",
    "https://xn--a.example",
    "https://a.XN--a",
    "file:///etc/passwd",
    "https://" + "a" * (LONGEST_URL - 7),
)


def named(url: str) -> ServiceAddress:
    return from_builtins(ServiceAddress, to_builtins(published(ServiceAddress)) | {"url": url})


@pytest.mark.parametrize("url", BAD)
def test_an_address_that_is_more_or_less_than_host_port_and_path_is_refused(url: str) -> None:
    with pytest.raises(MalformedDocument):
        named(url)


@pytest.mark.parametrize("url", GOOD)
def test_an_address_of_a_host_travels_as_it_was_signed(url: str) -> None:
    made = named(url)
    assert decode(ServiceAddress, made.canonical()) == made
    assert made.struct_hash() != named("http://127.0.0.1:1").struct_hash()


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z0-9.:/@?#\[\]%-]{1,40}"))
@example("https://a:1/b")
def test_what_is_taken_is_read_by_clients_as_the_same_host_and_port(text: str) -> None:
    try:
        url = named(text).url
    except MalformedDocument:
        return
    split, client = urlsplit(url), httpx.URL(url)
    assert (split.username, split.query, split.fragment) == (None, "", "")
    assert (client.host, client.port) == (split.hostname, split.port if split.port not in (80, 443) else client.port)
