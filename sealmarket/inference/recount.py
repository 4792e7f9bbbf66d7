"""A kept answer counted again by its service's meter, on the user's machine: was it charged what the meter counts?

The bounds that may only lessen a charge (what was reserved, what the owners allow) are not looked at: a receipt that
says less than the meter counts holds.
"""

from __future__ import annotations

from pathlib import Path

from sealmarket.inference.errors import ReceiptRefused
from sealmarket.inference.openai import asked_json
from sealmarket.inference.receipts import KeptReceipt, check_kept
from sealmarket.workloads.meters import Counted, count_again
from sealmarket.workloads.steps import Step
from sealmarket_enclave.protocol.session import SessionCode


def recount(kept: KeptReceipt, meter: Step, request: bytes, response: bytes, wheels: Path | None = None) -> Counted:
    """What the meter counts of an answer, once the receipt holds for both bodies. ``wheels``: see :func:`count_again`.

    Raises:
        ReceiptRefused: naming the member; ``units`` where more was charged than the meter counts.
        SessionFailed: the meter cannot count this answer. One with code ``not_metered`` was charged by its bytes.
        SandboxUnavailable, EnvironmentRefused, FetchFailed: the meter cannot run here.
    """
    check_kept(kept, request, response)
    if kept.service.meter != meter.digest:
        raise ReceiptRefused("meter", kept.service.meter, meter.digest)
    if kept.code is SessionCode.NOT_METERED:
        raise ReceiptRefused("meter", "an answer that the meter counted", kept.code.value)
    endpoint, whole = endpoint_of(request), kept.code is None
    found = count_again(meter, endpoint, request, response, whole=whole, wheels=wheels)
    receipt = kept.signed.receipt
    charged = (int(receipt.prompt_units), int(receipt.output_units))
    counted = (min(found.prompt, len(request)), min(found.output, len(response)))
    if not whole and not response:
        counted = (0, 0)  # nothing left
    if kept.code is SessionCode.UNITS_REFUSED or (whole and counted == (0, 0)):
        counted = (0, 1)  # the least that a whole answer costs, and a prompt that is too large
    if charged[0] > counted[0] or charged[1] > counted[1]:
        raise ReceiptRefused("units", f"at most {counted[0]} and {counted[1]}", f"{charged[0]} and {charged[1]}")
    return Counted(*counted)


def endpoint_of(request: bytes) -> str:
    """The endpoint to which a body was sent, by the member that it must have."""
    try:
        asked = asked_json(request)
    except ValueError:
        return "models"
    for member, endpoint in (("messages", "chat"), ("prompt", "completions"), ("rows", "score")):
        if member in asked:
            return endpoint
    return "models"
