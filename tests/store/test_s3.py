"""Containers in buckets, against a server that speaks S3: uploads in parts go on, and errors are typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealmarket.service.errors import ItemNotFound, ServiceRefused
from sealmarket.store import s3
from sealmarket.store.download import download
from sealmarket.store.s3 import S3Client, S3NotInstalled, S3Object, S3Source, S3Unusable, put_in_bucket
from sealmarket_enclave.sealed.errors import RootMismatch
from tests.store.sources import container, flipped, offset

pytestmark = pytest.mark.loopback
RAW, ROOT, LEAVES = container(200)
"""Of 13 MB: three parts of the least size that servers take."""
PART = 5 << 20
TARGET = S3Object("sealed", "folder/container")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    for name, value in {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "EC2_METADATA_DISABLED": "true",
                        "CONFIG_FILE": "/nonexistent", "SHARED_CREDENTIALS_FILE": "/nonexistent"}.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(s3, "PART_BYTES", PART)
    made = S3Client(server)
    made._sent(made._presigned("create_bucket", {"Bucket": TARGET.bucket}), b"", 0)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "container"
    path.write_bytes(RAW)
    return path


def fetch(client: S3Client, target: S3Object, tmp_path: Path) -> bytes:
    download(S3Source(client, target), ROOT, tmp_path / "back", wait=lambda _seconds: None)
    return (tmp_path / "back").read_bytes()


def test_what_is_not_there_is_said_without_the_signature(client: S3Client, tmp_path: Path) -> None:
    with pytest.raises(ItemNotFound) as refusal:
        fetch(client, S3Object("sealed", "absent"), tmp_path)
    assert "Signature" not in str(refusal.value)
    assert "AWSAccessKeyId" not in str(refusal.value)


def test_a_bucket_that_is_not_there_refuses_an_upload(client: S3Client, file: Path) -> None:
    with pytest.raises(ItemNotFound):
        put_in_bucket(client, S3Object("absent", "container"), file, ROOT)


def test_without_credentials_nothing_is_sent(server: str, client: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(S3Unusable, match="credentials"):
        S3Client(server).url("get_object", TARGET)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(S3NotInstalled, match="botocore") as refusal:
        S3Client()
    assert "sealmarket[s3]" in refusal.value.remedy


def test_a_file_that_is_not_the_container_is_not_sent(client: S3Client, file: Path) -> None:
    file.write_bytes(flipped(RAW, offset(9)))
    with pytest.raises(RootMismatch):
        put_in_bucket(client, TARGET, file, ROOT)


@pytest.mark.parametrize("answer", [
    b"", b"not xml", b"<!DOCTYPE a><a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"<a><Part/></a>",
    b"<a><Part><PartNumber>-1</PartNumber><Size>1</Size></Part></a>",
])  # fmt: skip
def test_an_answer_that_is_not_s3s_is_refused(answer: bytes, client: S3Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __enter__(self) -> Other:
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def body(self) -> bytes:
            return answer

    monkeypatch.setattr(s3, "_asked", lambda *_arguments: Other())
    with pytest.raises(ServiceRefused):
        client.parts(TARGET, "upload")


def test_a_container_goes_through_a_bucket_with_its_leaves(client: S3Client, file: Path, tmp_path: Path) -> None:
    put_in_bucket(client, TARGET, file, ROOT)
    assert S3Source(client, TARGET).leaves(len(LEAVES)) == LEAVES
    assert fetch(client, TARGET, tmp_path) == RAW


def test_a_small_one_goes_at_once(client: S3Client, tmp_path: Path) -> None:
    raw, root, _ = container(2)
    (tmp_path / "small").write_bytes(raw)
    put_in_bucket(client, TARGET, tmp_path / "small", root)
    download(S3Source(client, TARGET), root, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == raw


def test_parts_that_are_there_are_not_sent_again_and_others_are(
    client: S3Client, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    whole = client.put_part

    def torn(target: S3Object, upload: str, number: int, *rest: object) -> str:
        sent.append(number)
        if number == 3 and len(sent) == 3:
            raise ConnectionResetError
        return whole(target, upload, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "put_part", torn)
    with pytest.raises(ConnectionResetError):
        put_in_bucket(client, TARGET, file, ROOT)
    [upload] = client.uploads(TARGET)
    client_parts = client.parts(TARGET, upload)
    assert sorted(client_parts) == [1, 2]
    whole(TARGET, upload, 2, iter([b"x" * PART]), PART)  # not what it was
    put_in_bucket(client, TARGET, file, ROOT)
    assert sent[3:] == [2, 3]
    assert fetch(client, TARGET, tmp_path) == RAW


def test_what_was_altered_in_the_bucket_is_found(client: S3Client, file: Path, tmp_path: Path) -> None:
    put_in_bucket(client, TARGET, file, ROOT)
    altered = flipped(RAW, offset(9))
    client.put(TARGET, altered, len(altered))
    with pytest.raises(Exception, match="wrong in chunk 9"):
        fetch(client, TARGET, tmp_path)
