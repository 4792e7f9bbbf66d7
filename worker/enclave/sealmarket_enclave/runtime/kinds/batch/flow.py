"""A batch job, from its quote to its signed end.

States: ``quoted -> opening -> computing -> sealing -> finished``. The steps go on from those of
:mod:`sealmarket_enclave.runtime.core`:

4. Keys are joined (:mod:`sealmarket_enclave.runtime.opening`). Meanwhile the workload loads its modules.
5. The inputs are opened.
6. The workload runs in the sandbox; the owners' rules and validators decide what leaves.
7. The result is sealed to the job's result keys, and the enclave signs the settlement. A failure of an input or of the
   workload, or a limit of time that is used up, is signed in its place.

What leaves after step 4 is ciphertext, a hash, a typed code or a fixed text.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.runtime.channel import (
    MAX_PART,
    Channel,
    Finished,
    FromHost,
    ResultPart,
    Stage,
)
from sealmarket_enclave.runtime.core import EnclaveEnvironment, Work
from sealmarket_enclave.runtime.errors import InputFailed, StepFailed, WorkloadFailed
from sealmarket_enclave.runtime.inputs import OpenedInputs
from sealmarket_enclave.runtime.opening import collect_shares, open_inputs
from sealmarket_enclave.runtime.outputs import check_declared, enforce
from sealmarket_enclave.runtime.receipts import ReceiptSigner, units_up
from sealmarket_enclave.runtime.validators import Validating
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
        self._channel, self._environment, self._work, self._signer = channel, environment, work, signer
        self._clock = environment.clock
        self._job, self._workload, self._input_names = work.job, work.workload, work.input_names
        self._steps = work.steps
        self._spec = work.job.bound.spec

    def run(self) -> None:
        """Steps 4 to 7."""
        # The committee takes seconds, and so does loading: no data is there yet, and none is needed for it.
        self._workload.start()
        shares = collect_shares(self._channel, self._environment, self._work, self._signer)
        # No key is joined, and nothing opened, for a workload that still loads.
        self._channel.send(Stage(name="importing"))
        self._workload.loaded()
        try:
            inputs = open_inputs(self._channel, self._environment, self._work, shares.join_keys())
        except InputFailed as error:
            self._channel.send(self._signer.fail_input(self._job, error))
        except StepFailed as error:
            self._channel.send(self._signer.fail(FailureCause.VALIDATOR, error.index, 0, ()))
        except WorkloadFailed:
            # The inputs do not fit into the bytes or the time that the request grants.
            self._channel.send(self._signer.fail(FailureCause.WORKLOAD_TIME, 0, 0, ()))
        else:
            self._channel.send(self._compute(inputs))

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
