"""The URLs that an address book names: what others can ask, and nothing that is read as something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealmarket.protocol.book import is_reachable

NONE = (
    *("", "nowhere", "ftp://node", "node.example.org", "https://", "http:///path", "http://:8451", "//node"),
    *("http://[bad", "http://[abc]", "http://[::1", "http://::1", "http://h:99999", "http://h:0", "http://h:x"),
    *("http://h ost", "http://h\n.org", "http://h\t", " http://h", "http://h\x00", "http://h\x1b[2J", "http://h/a b"),
    *("https://me:word@node", "http://:pw@h", "http://me@h", "http://@h", "http://n/?a", "http://n/#a", "http://n/?"),
    *("http://n\\@other", "http://münze.example", "http://h%00", "https://h/" + "a" * 256),
)
GOOD = (
    *(
        "http://127.0.0.1:8451",
        "http://node",
        "https://oracle-1.example.org",
        "https://oracle-1.example.org:8443/node/1",
    ),
    *("http://[::1]:8451", "https://xn--mnze-0ra.example", "http://h.", "HTTPS://Node.example"),
)


@pytest.mark.parametrize("url", NONE)
def test_a_url_that_others_cannot_reach_is_none(url: str) -> None:
    assert not is_reachable(url)


@pytest.mark.parametrize("url", GOOD)
def test_a_url_with_a_host_is_one(url: str) -> None:
    assert is_reachable(url)


@given(st.text(alphabet="htps:/[]@?#%. \n\\0129a-é", max_size=30))
def test_any_text_is_one_or_none(rest: str) -> None:
    for text in (rest, f"http://{rest}"):
        assert is_reachable(text) in (True, False)
