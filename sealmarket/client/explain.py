"""What an ending of a job means, in words: what happened, who answers for it, and what to do now.

One entry for each row of the fault table (docs/spec/contracts.md, "The fault table"). How the money moved is in
:mod:`sealmarket.client.statement`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealmarket.chain import Fault
from sealmarket.client.errors import JobEndedOtherwise
from sealmarket.client.jobs import JobRecord, reasons_in_words
from sealmarket.protocol.transitions import ENDS, Status

_QUOTE = "ask `sealmarket consumer quote` which offers there are, and request again"


@dataclass(frozen=True, slots=True)
class Ending:
    """One row of the fault table: what happened, who bears it, and what its consumer can do."""

    what: str
    bears: str
    remedy: str


ENDINGS: dict[Fault, Ending] = {
    Fault.NONE: Ending("the enclave signed a result", "owners and provider are paid", "verify the job's proof"),
    Fault.NO_QUOTE: Ending(
        "the provider started no enclave within the quote window",
        "the provider: its penalty is burned; the payer gets everything back",
        "request again, with another provider if it happens twice",
    ),
    Fault.PLATFORM_REFUSED: Ending(
        "the oracle nodes refused the provider's evidence",
        "the provider: its penalty pays the nodes, and the rest of it is burned",
        "request again, with another provider",
    ),
    Fault.REQUEST_REFUSED: Ending(
        "the oracle nodes refused the request",
        "the payer: it pays the nodes, and the hold fee is burned",
        _QUOTE,
    ),
    Fault.TERMS_REFUSED: Ending(
        "an owner changed its terms between the match and the decision, or the terms ran out",
        "the payer pays the nodes; no other party loses anything",
        _QUOTE,
    ),
    Fault.INPUT_REFUSED: Ending(
        "a document or a share of an asset was missing or wrong",
        "the payer pays the nodes; no other party loses anything",
        "report it to the asset's owner, who must put it back",
    ),
    Fault.EVIDENCE_WITHHELD: Ending(
        "the provider posted the hash of its evidence and kept the evidence from the oracle nodes",
        "the provider: its penalty pays the nodes, and the rest of it is burned",
        "request again, with another provider",
    ),
    Fault.COMMITTEE_SILENT: Ending(
        "too few oracle nodes decided within the decide window",
        "no party: everything returns",
        "request again once the oracle nodes answer (`sealmarket chain status`)",
    ),
    Fault.STOPPED_BEFORE_RELEASE: Ending(
        "enough oracle nodes promised not to release the key, and no result came",
        "no party: everything returns but the fees of the decision",
        "read the reasons of the stop, and request again",
    ),
    Fault.SHARES_MISSING: Ending(
        "fewer oracle nodes released their shares than the key needs, also after the enclave had reported it",
        "no party: everything returns but the fees of the decision",
        "request again once the oracle nodes answer (`sealmarket chain status`)",
    ),
    Fault.INPUT_FAILED: Ending(
        "the enclave could not open an asset, or it is not what its data card promises; it is suspended now",
        "no party: everything returns but the fees of the decision",
        "report it to the asset's owner, and choose another version",
    ),
    Fault.WORKLOAD_FAILED: Ending(
        "the workload failed in the enclave, or an owner's rules do not let its outputs leave",
        "the payer: owners and provider are paid in full, since the data was used",
        "mend the workload, try it on sample data, and request again",
    ),
    Fault.WORKLOAD_TIMED_OUT: Ending(
        "the workload used up its time",
        "the payer: provider and owners share what the request allowed for this end",
        "give the workload more run seconds, or less to do",
    ),
    Fault.VALIDATOR_TIMED_OUT: Ending(
        "an owner's own check of the outputs did not finish",
        "the payer: provider and owners share what the request allowed for this end",
        "report it to that owner, or request again without its asset",
    ),
    Fault.READER_TIMED_OUT: Ending(
        "an owner's own reader of its data did not finish, or found no room for its table; the workload saw no data",
        "no party: everything returns but the fees of the decision",
        "request again, with another provider or without that asset",
    ),
    Fault.PROVIDER_SILENT: Ending(
        "the provider was accepted and returned no result within the settle window",
        "the provider: its stake pays the owners, its penalty the fees; the payer gets everything back",
        "request again, with another provider",
    ),
    Fault.RESULT_WITHHELD: Ending(
        "the oracle nodes found that the provider keeps the result back",
        "the provider: it loses its stake and its pay, and the payer gets everything back",
        "request again, with another provider",
    ),
    Fault.WITHDRAWN: Ending(
        "the consumer's side withdrew the job before there was an enclave",
        "the payer: the hold fee is burned, the rest returns",
        "request again if you still want the result",
    ),
}

_WAITS = {
    Status.MATCHED: "the provider has to start an enclave and post the hash of its evidence",
    Status.QUOTED: "the oracle nodes have to appraise the evidence and to decide",
    Status.ACCEPTED: "the enclave has to compute, and the provider to post its result",
    Status.SETTLED: "the result is there; the consumer may acknowledge it, or challenge it while the window is open",
    Status.CHALLENGED: "the oracle nodes have to say whether the result is available",
}


def ending_of(record: JobRecord) -> Ending | None:
    """What the job's end means; None while it goes on."""
    return ENDINGS[record.fault] if record.status in ENDS else None


def meaning(record: JobRecord) -> str:
    """What a job waits for, or what ended it, in one sentence."""
    ending = ending_of(record)
    return ending.what if ending else _WAITS[record.status]


def ended_otherwise(record: JobRecord) -> JobEndedOtherwise:
    """The error for a job that was waited for and has no result: its reasons, else what its fault means."""
    words = reasons_in_words(record.reasons)
    ending = ending_of(record)
    said = ", ".join(reason.word for reason in words) or meaning(record)
    remedy = "; ".join(dict.fromkeys(reason.remedy for reason in words))
    if not remedy:
        remedy = ending.remedy if ending else "wait for it"
    detail = f"{remedy}; what it cost: sealmarket consumer explain {record.job_id}"
    return JobEndedOtherwise(record.job_id, record.status.name.lower(), said, detail)
