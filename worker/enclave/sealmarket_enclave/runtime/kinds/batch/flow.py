"""A batch job, from its quote to its signed end.

States: ``quoted -> opening -> computing -> sealing -> finished``. The steps go on from those of
:mod:`sealmarket_enclave.runtime.core`:

4. Releases are collected until every data key can be joined. Meanwhile the workload loads its modules. Until then, and
   only until then, the enclave signs on request that it has joined no key.
5. Every container is read whole and checked before any is opened. What is opened is held against its owner's card.
6. The workload runs in the sandbox; the owners' rules and validators decide what leaves.
7. The result is sealed to the job's result keys, and the enclave signs the settlement. A failure of an input or of the
   workload, or a limit of time that is used up, is signed in its place.

What leaves after step 4 is ciphertext, a hash, a typed code or a fixed text.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.runtime.channel import (
    MAX_PART,
    Channel,
    Deliver,
    Finished,
    FromHost,
    ResultPart,
    SignMissing,
    Stage,
)
from sealmarket_enclave.runtime.core import EnclaveEnvironment, Work
from sealmarket_enclave.runtime.cutoff import CutOff
from sealmarket_enclave.runtime.errors import InputFailed, OutOfOrder, StepFailed, WorkloadFailed
from sealmarket_enclave.runtime.inputs import OpenedInputs, Reading, read_container, require_granted
from sealmarket_enclave.runtime.outputs import check_declared, enforce
from sealmarket_enclave.runtime.readers import Readers, grant_of
from sealmarket_enclave.runtime.receipts import ReceiptSigner, units_up
from sealmarket_enclave.runtime.releases import ShareCollector
from sealmarket_enclave.runtime.validators import Validating
from sealmarket_enclave.runtime.withholding import row_secret
from sealmarket_enclave.sandbox import FailureKind
from sealmarket_enclave.sealed.errors import InvalidOutputs
from sealmarket_enclave.sealed.result import seal_result


def serve(channel: Channel[FromHost], environment: EnclaveEnvironment, work: Work, signer: ReceiptSigner) -> None:
    """Carry a quoted job to its signed end.

    Raises:
        HostFault, OutOfOrder, JobRefused: the job ends unsigned.
    """
    _BatchJob(channel, environment, work, signer).run()


class _BatchJob:
    def __init__(
        self, channel: Channel[FromHost], environment: EnclaveEnvironment, work: Work, signer: ReceiptSigner
    ) -> None:
        self._channel, self._clock, self._signer = channel, environment.clock, signer
        self._cpu_clock = environment.cpu_clock
        self._job, self._workload, self._input_names = work.job, work.workload, work.input_names
        self._steps = work.steps
        self._spec = work.job.bound.spec

    def run(self) -> None:
        """Steps 4 to 7."""
        # The committee takes seconds, and so does loading: no data is there yet, and none is needed for it.
        self._workload.start()
        shares = self._collect()
        # No key is joined, and nothing opened, for a workload that still loads.
        self._channel.send(Stage(name="importing"))
        self._workload.loaded()
        try:
            inputs = self._open(shares.join_keys())
        except InputFailed as error:
            self._channel.send(self._signer.fail_input(self._job, error))
        except StepFailed as error:
            # No workload has seen any data of the job.
            self._channel.send(self._signer.fail(FailureCause.READER, error.index, 0, ()))
        except WorkloadFailed:
            # The inputs do not fit into the bytes or the time that the request grants.
            self._channel.send(self._signer.fail(FailureCause.WORKLOAD_TIME, 0, 0, ()))
        else:
            self._channel.send(self._compute(inputs))

    def _collect(self) -> ShareCollector:
        shares = ShareCollector(self._job, self._signer.keys, self._signer.evidence_hash)
        cutoff = CutOff(self._spec, self._signer.began)
        while True:
            message = self._channel.receive()
            if isinstance(message, SignMissing):
                cutoff.move(self._clock())
                self._channel.send(self._signer.report_missing(shares.excluded))
            elif isinstance(message, Deliver):
                for release in message.releases:
                    shares.take(release)
                late = cutoff.passed(self._clock())
                self._channel.send(shares.report(late=late))
                if not shares.missing and not late:
                    return shares
            else:
                raise OutOfOrder(type(message).__name__, Deliver.__name__)

    def _open(self, keys: list[bytes]) -> OpenedInputs:
        self._channel.send(Stage(name="opening"))
        sealed: list[io.FileIO] = []
        opened = OpenedInputs()
        try:
            self._read(sealed)
            sizes = require_granted(sealed, self._spec)
            reading = Reading(self._cpu_clock, self._clock, self._spec.read_seconds)
            grant = grant_of(self._job.assets, sizes, self._spec.read_seconds)
            readers = Readers(self._steps, reading, grant, row_secret(self._job.bound.job_id, keys))
            for index, (asset, memory) in enumerate(zip(self._job.assets, sealed, strict=True)):
                named = (asset.use.asset_id, asset.seal.content_version)
                content = reading.open_container(memory, index, asset.seal.content_root, named, keys[index])
                name = self._input_names[index]
                room = self._workload.max_input_bytes - opened.size
                opened.given[name] = content
                table = self._workload.takes_table(name)
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

    def _read(self, sealed: list[io.FileIO]) -> None:
        """Copy every container into memory, in the order of the assets."""
        room = self._workload.max_input_bytes
        for asset in self._job.assets:
            memory = read_container(self._channel, asset.seal.content_root, room)
            sealed.append(memory)
            room -= memory.seek(0, 2)
            memory.seek(0)

    def _compute(self, inputs: OpenedInputs) -> Finished:
        self._channel.send(Stage(name="computing"))
        rules, workload, started = self._job.rules, self._workload, self._clock()
        try:
            try:
                check_declared(workload.outputs, rules)
                outputs = workload.run(inputs.given, rules.max_bytes)
            finally:
                # The workload's time alone: how long validators take is the owners' choice, and no consumer's bill.
                units = self._units(started)
            self._validate(outputs, inputs)
        except StepFailed as error:
            return self._signer.fail(FailureCause.VALIDATOR, error.index, units, workload.layers)
        except (WorkloadFailed, InvalidOutputs) as error:
            return self._signer.fail(_cause_of(error), 0, units, workload.layers)
        finally:
            inputs.wipe()
        return self._seal(outputs, units)

    def _validate(self, outputs: Mapping[str, bytes], inputs: OpenedInputs) -> None:
        """Hold the outputs against the owners' rules, then against their validators within ``validateSeconds``."""
        began = self._clock()
        enforce(outputs, self._workload.outputs, self._job.rules)
        if int(self._clock() - began) > self._spec.validate_seconds:
            raise WorkloadFailed(FailureKind.OUT_OF_TIME)
        if not self._job.rules.checks:
            return
        self._channel.send(Stage(name="validating"))
        validating = Validating(
            self._steps,
            self._clock,
            [asset.policy.output for asset in self._job.assets],
            [inputs.given[name] for name in self._input_names],
            {place: inputs.withheld[name] for place, name in enumerate(self._input_names) if name in inputs.withheld},
        )
        validating.require(outputs, self._workload.outputs, self._spec.validate_seconds)

    def _seal(self, outputs: Mapping[str, bytes], units: int) -> Finished:
        self._channel.send(Stage(name="sealing"))
        bound = self._job.bound
        envelope, container = seal_result(
            outputs,
            self._job.result_keys,
            chain_id=bound.chain_id,
            market=bound.market,
            job_id=bound.job_id,
            bucket=self._job.rules.bucket_bytes,
        )
        view = memoryview(container)
        while view:
            self._channel.send(ResultPart(data=bytes(view[:MAX_PART])))
            view = view[MAX_PART:]
        return self._signer.settle(envelope, units, self._workload.layers)

    def _units(self, started: float) -> int:
        return units_up(self._clock() - started, self._spec.max_units)


def _cause_of(error: WorkloadFailed | InvalidOutputs) -> FailureCause:
    timed_out = isinstance(error, WorkloadFailed) and error.kind == FailureKind.OUT_OF_TIME
    return FailureCause.WORKLOAD_TIME if timed_out else FailureCause.WORKLOAD
