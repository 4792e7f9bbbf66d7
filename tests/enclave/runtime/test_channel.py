"""The channel's frames: whatever bytes come, either a message or a typed refusal."""

from __future__ import annotations

import socket
import threading

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealmarket_enclave.runtime.channel import MAX_FRAME, Deliver, FromHost, Part, Want, enclave_side
from sealmarket_enclave.runtime.errors import ChannelError, FrameRefused, HostLost
from sealmarket_worker.session import host_side
from tests.patience import PATIENCE


def received(raw: bytes) -> FromHost:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(raw)
        ours.shutdown(socket.SHUT_WR)
        return enclave_side(theirs).receive()


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_do_worse_than_a_typed_refusal(raw: bytes) -> None:
    try:
        received(raw)
    except ChannelError:
        return


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9) | st.binary(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    )
)
def test_no_msgpack_value_passes_for_a_message(value: object) -> None:
    body = msgspec.msgpack.encode(value)
    with pytest.raises(FrameRefused):
        received(len(body).to_bytes(4, "big") + body)


def test_a_message_with_a_field_more_is_refused() -> None:
    body = msgspec.msgpack.encode({"kind": "part", "data": b"", "measurement": b"mine"})
    with pytest.raises(FrameRefused, match="measurement"):
        received(len(body).to_bytes(4, "big") + body)


def test_a_frame_that_announces_more_than_fits_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameRefused, match="at most"):
        received((MAX_FRAME + 1).to_bytes(4, "big"))


def test_a_cut_frame_says_that_the_other_side_is_gone() -> None:
    with pytest.raises(HostLost):
        received(b"\x00\x00\x00\x10abc")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_what_is_sent_arrives_in_order(parts: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        host, enclave = host_side(ours), enclave_side(theirs)

        def send() -> None:
            for part in parts:
                host.send(Part(data=part))
            host.send(Deliver(releases=tuple(parts)))

        thread = threading.Thread(target=send)
        thread.start()
        assert [enclave.receive() for _ in parts] == [Part(data=part) for part in parts]
        assert enclave.receive() == Deliver(releases=tuple(parts))
        thread.join()
        enclave.send(Want(content_root=b"r", offset=1, length=2))
        assert host.receive() == Want(content_root=b"r", offset=1, length=2)


def test_a_conversation_that_is_hung_up_ends_for_whoever_waits_in_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        host, ended = host_side(ours), threading.Event()

        def wait() -> None:
            with pytest.raises(HostLost):
                host.receive()
            ended.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        host.hang_up()
        host.hang_up()
        waiting.join(PATIENCE)
        assert ended.is_set()


@pytest.mark.parametrize("depth", [1, 100, 100_000, 5_000_000])
@pytest.mark.parametrize("container", [b"\x91", b"\x81\xa1a"])
def test_a_frame_of_endless_nesting_is_refused(container: bytes, depth: int) -> None:
    nested = b"\x82\xa1x" + container * depth + b"\xc0\xa4kind\xa4part"
    with pytest.raises(FrameRefused):
        enclave_side(_Framed(nested)).receive()  # type: ignore[arg-type]


class _Framed:
    """A socket that holds one frame."""

    def __init__(self, body: bytes) -> None:
        self.left = memoryview(len(body).to_bytes(4, "big") + body)

    def recv_into(self, room: memoryview) -> int:
        taken = min(len(room), len(self.left))
        room[:taken], self.left = self.left[:taken], self.left[taken:]
        return taken
