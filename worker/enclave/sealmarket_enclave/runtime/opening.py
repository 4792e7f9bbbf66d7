"""From a quoted job to its opened inputs: what every kind of job does before its workload gets data.

1. Releases are collected until every data key can be joined. Until then, and only until then, the enclave signs on
   request that it has joined no key.
2. Every container is read whole and checked before any is opened. What is opened is held against its owner's card.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from sealmarket_enclave.runtime.channel import Channel, Deliver, FromHost, SignMissing, Stage
from sealmarket_enclave.runtime.core import EnclaveEnvironment, Work
from sealmarket_enclave.runtime.cutoff import CutOff
from sealmarket_enclave.runtime.errors import OutOfOrder
from sealmarket_enclave.runtime.inputs import OpenedInputs, Reading, read_container, require_granted
from sealmarket_enclave.runtime.readers import Readers, grant_of
from sealmarket_enclave.runtime.receipts import ReceiptSigner
from sealmarket_enclave.runtime.releases import ShareCollector
from sealmarket_enclave.runtime.withholding import row_secret


def collect_shares(
    channel: Channel[FromHost], environment: EnclaveEnvironment, work: Work, signer: ReceiptSigner
) -> ShareCollector:
    """The shares of a job, enough for every key. Raises :class:`OutOfOrder` for another message."""
    shares = ShareCollector(work.job, signer.keys, signer.evidence_hash)
    cutoff = CutOff(work.job.bound.spec, signer.began)
    while True:
        message = channel.receive()
        if isinstance(message, SignMissing):
            cutoff.move(environment.clock())
            channel.send(signer.report_missing(shares.excluded))
        elif isinstance(message, Deliver):
            for release in message.releases:
                shares.take(release)
            late = cutoff.passed(environment.clock())
            channel.send(shares.report(late=late))
            if not shares.missing and not late:
                return shares
        else:
            raise OutOfOrder(type(message).__name__, Deliver.__name__)


def open_inputs(
    channel: Channel[FromHost], environment: EnclaveEnvironment, work: Work, keys: Sequence[bytes]
) -> OpenedInputs:
    """The inputs of a job by the workload's names, with each asset's key in the order of its assets.

    Raises:
        HostFault: a container was withheld or altered.
        InputFailed, StepFailed: an asset, or its owner's reader.
        WorkloadFailed: the inputs do not fit into the bytes or the time that the request grants.
    """
    channel.send(Stage(name="opening"))
    spec, assets = work.job.bound.spec, work.job.assets
    sealed: list[io.FileIO] = []
    opened = OpenedInputs()
    try:
        _read(channel, work, sealed)
        sizes = require_granted(sealed, spec)
        reading = Reading(environment.cpu_clock, environment.clock, spec.read_seconds)
        grant = grant_of(assets, sizes, spec.read_seconds)
        readers = Readers(work.steps, reading, grant, row_secret(work.job.bound.job_id, list(keys)))
        for index, (asset, memory) in enumerate(zip(assets, sealed, strict=True)):
            named = (asset.use.asset_id, asset.seal.content_version)
            content = reading.open_container(memory, index, asset.seal.content_root, named, keys[index])
            name = work.input_names[index]
            room = work.workload.max_input_bytes - opened.size
            opened.given[name] = content
            table = work.workload.takes_table(name)
            opened.given[name], apart = readers.read(index, asset, content, table=table, room=room)
            if apart is not None:
                opened.withheld[name] = apart
        return opened
    except BaseException:
        opened.wipe()
        raise
    finally:
        for memory in sealed:
            memory.close()


def _read(channel: Channel[FromHost], work: Work, sealed: list[io.FileIO]) -> None:
    """Copy every container into memory, in the order of the assets."""
    room = work.workload.max_input_bytes
    for asset in work.job.assets:
        memory = read_container(channel, asset.seal.content_root, room)
        sealed.append(memory)
        room -= memory.seek(0, 2)
        memory.seek(0)
