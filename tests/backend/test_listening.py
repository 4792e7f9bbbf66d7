"""A backend beyond this machine says what it lacks there, and names its own address as others can use it."""

from __future__ import annotations

import logging

import pytest

from sealmarket.serving.limits import ServerLimits
from sealmarket.serving.start import listen, url_of
from sealmarket_backend.main import _warn_of_strangers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "backend.example"])
def test_beyond_this_machine_it_asks_for_a_proxy_with_tls(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _warn_of_strangers(host, ServerLimits())
    assert "TLS" in caplog.text
    assert "SEALMARKET_SERVER_TRUSTED_PROXIES" in caplog.text


def test_behind_a_proxy_that_is_named_only_tls_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _warn_of_strangers("0.0.0.0", ServerLimits(trusted_proxies=("10.0.0.1",)))
    assert "TRUSTED_PROXIES" not in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_nothing_is_asked_for(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _warn_of_strangers(host, ServerLimits())
    assert caplog.text == ""


@pytest.mark.loopback
def test_an_address_of_ipv6_is_printed_as_a_url_that_works() -> None:
    with listen("::1", 0) as listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"
