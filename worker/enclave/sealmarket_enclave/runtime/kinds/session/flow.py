"""A service as a job: from its quote to its signed end (docs/spec/session.md).

States: ``quoted -> opening -> serving -> sealing -> finished``. The steps go on from those of
:mod:`sealmarket_enclave.runtime.core`:

4. Keys are joined and inputs opened, as of every kind (:mod:`sealmarket_enclave.runtime.opening`).
5. The service answers requests (:mod:`sealmarket_enclave.runtime.kinds.session.service`).
6. Its last statements are the result, sealed to the job's result keys; the enclave signs the settlement. A service that
   charged nothing and whose workload never came up is a failure of the workload in its place.
"""

from __future__ import annotations

from msgspec import UNSET

from sealmarket_enclave.protocol.numbers import FailureCause
from sealmarket_enclave.protocol.session import SignedStatement
from sealmarket_enclave.runtime.channel import MAX_PART, Channel, Finished, FromHost, ResultPart, Stage, Stated
from sealmarket_enclave.runtime.core import EnclaveEnvironment, Work
from sealmarket_enclave.runtime.errors import Code, InputFailed, JobRefused, StepFailed, WorkloadFailed
from sealmarket_enclave.runtime.job import Unrunnable
from sealmarket_enclave.runtime.kinds.session.answers import Notary
from sealmarket_enclave.runtime.kinds.session.checking import Checking
from sealmarket_enclave.runtime.kinds.session.ledger import Ledger
from sealmarket_enclave.runtime.kinds.session.metering import AnsweringProcess
from sealmarket_enclave.runtime.kinds.session.pool import Pool
from sealmarket_enclave.runtime.kinds.session.service import Service
from sealmarket_enclave.runtime.kinds.session.terms import service_terms
from sealmarket_enclave.runtime.opening import collect_shares, open_inputs
from sealmarket_enclave.runtime.receipts import ReceiptSigner
from sealmarket_enclave.runtime.sandbox_job import SandboxJob
from sealmarket_enclave.sandbox import STRICT, SandboxUnavailable
from sealmarket_enclave.sandbox.process import Launch
from sealmarket_enclave.sandbox.session import SessionProcess, SharedInputs
from sealmarket_enclave.sealed.result import seal_result

STATEMENT = "statement.json"
"""The name of the first of the last statements in the result; further ones are ``statement-2.json`` and so on."""


def serve(channel: Channel[FromHost], environment: EnclaveEnvironment, work: Work, signer: ReceiptSigner) -> None:
    """Carry a quoted service to its signed end.

    Raises:
        HostFault, OutOfOrder, JobRefused: the job ends unsigned.
    """
    shares = collect_shares(channel, environment, work, signer)
    try:
        opened = open_inputs(channel, environment, work, shares.join_keys())
    except InputFailed as error:
        channel.send(signer.fail_input(work.job, error))
    except StepFailed as error:
        channel.send(signer.fail(FailureCause.VALIDATOR, error.index, 0, ()))
    except WorkloadFailed:
        channel.send(signer.fail(FailureCause.WORKLOAD_TIME, 0, 0, ()))
    else:
        try:
            inputs = SharedInputs(opened.given)
        finally:
            opened.wipe()
        try:
            channel.send(_served(channel, environment, work, signer, inputs))
        except SandboxUnavailable as error:
            raise JobRefused(Code.SANDBOX_UNAVAILABLE, error.message, error.remedy) from error
        finally:
            inputs.close()


def _served(
    channel: Channel[FromHost],
    environment: EnclaveEnvironment,
    work: Work,
    signer: ReceiptSigner,
    inputs: SharedInputs,
) -> Finished:
    channel.send(Stage(name="serving"))
    agreed = service_terms(work.job)
    assert not isinstance(agreed, Unrunnable)
    ledger = Ledger(signer.job.job_id, agreed.terms, agreed.rules)
    notary = Notary(signer, ledger, agreed.rules, work.job.rules.max_bytes, agreed.weights)
    checking = Checking(work.job, agreed.weights)
    sandboxed = work.workload.sandboxed
    limits = sandboxed.manifest.session
    assert limits is not UNSET
    metering = None if agreed.rules.meter is UNSET else work.steps.job(agreed.rules.meter)

    def pool(service: Service) -> Pool:
        return Pool(
            lambda: _start(sandboxed, inputs, metering, int(agreed.rules.max_prompt_units)),
            service,
            environment.clock,
            most=limits.processes,
            load_seconds=max(one.manifest.limits.wall_seconds for one in (sandboxed, metering) if one is not None),
            request_seconds=limits.request_seconds,
        )

    service = Service(channel, notary, checking, environment.clock, pool)
    last = service.run()
    layers = tuple(sorted(layer.value for layer in STRICT.required))
    if not ledger.charged and not service.ever_loaded:
        return signer.fail(FailureCause.WORKLOAD, 0, 0, layers)
    return _sealed(channel, work, signer, last, layers)


def _start(
    workload: SandboxJob, inputs: SharedInputs, metering: SandboxJob | None, max_prompt: int
) -> AnsweringProcess:
    """A process for one account, and its meter's. Raises :class:`OSError` where this machine has no room for both."""
    process = SessionProcess(_launch(workload), inputs)
    try:
        meter = None if metering is None else SessionProcess(_launch(metering), SharedInputs({}))
    except BaseException:
        process.close()
        raise
    return AnsweringProcess(process, meter, max_prompt)


def _launch(job: SandboxJob) -> Launch:
    entry_point, limits = job.manifest.entry_point, job.manifest.limits
    return Launch(job.bundle, job.environment, entry_point, limits, job.parameters, STRICT, service=True)


def _sealed(
    channel: Channel[FromHost],
    work: Work,
    signer: ReceiptSigner,
    last: list[SignedStatement],
    layers: tuple[str, ...],
) -> Finished:
    """The settlement, whose result is the last statements; the host gets them in the clear as well."""
    channel.send(Stage(name="sealing"))
    for one in last:
        channel.send(Stated(statement=one.canonical()))
    names = (STATEMENT, *(f"statement-{number}.json" for number in range(2, len(last) + 1)))
    envelope, container = seal_result(
        {name: one.canonical() for name, one in zip(names, last, strict=True)},
        work.job.result_keys,
        chain_id=signer.job.chain_id,
        market=signer.job.market,
        job_id=signer.job.job_id,
        bucket=work.job.rules.bucket_bytes,
    )
    view = memoryview(container)
    while view:
        channel.send(ResultPart(data=bytes(view[:MAX_PART])))
        view = view[MAX_PART:]
    return signer.settle(envelope, 0, layers)
