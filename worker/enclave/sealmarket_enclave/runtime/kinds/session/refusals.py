"""Why a request, a renewal or an answer of a service is refused. Texts hold nothing of another account.

EnclaveError
├── RequestRefused     sealed to the user; the request's number stays free
├── RenewalRefused     said to the host; the lease stays as it was
└── AnswerBroken       the answer ends with a receipt for what was released
"""

from __future__ import annotations

from sealmarket_enclave.protocol.session import Refusal, SessionCode
from sealmarket_enclave.runtime.errors import EnclaveError

_REMEDIES = {
    SessionCode.GRANT_REFUSED: "sign a grant for this service, its workload and its weights, by the tab's account",
    SessionCode.GRANT_OVER: "sign another grant",
    SessionCode.GRANT_SPENT: "ask for less, or sign another grant",
    SessionCode.NUMBER_UNEXPECTED: "count from the last receipt; of an answer that was lost, sign another grant",
    SessionCode.NOT_ACKNOWLEDGED: "name the last receipt; of an answer that was lost, sign another grant",
    SessionCode.ANSWER_RUNS: "wait for the answer, or use another grant",
    SessionCode.ENDPOINT_REFUSED: "use an endpoint that every owner allows",
    SessionCode.UNITS_REFUSED: "shorten the request, or ask for fewer units",
    SessionCode.NO_TAB: "open a tab for this account, and wait until it is final and the service has renewed",
    SessionCode.TAB_SPENT: "add to the tab, and wait until that is final and the service has renewed",
    SessionCode.NO_LEASE: "try again soon, or use another replica",
    SessionCode.LEASE_SPENT: "try again once the host has redeemed, or use another replica",
    SessionCode.BUSY: "try again soon, or use another replica",
    SessionCode.ENDED: "use another service",
}


class RequestRefused(EnclaveError):
    """A request that is not taken. Nothing is charged."""

    def __init__(self, code: SessionCode, found: object, expected: object) -> None:
        super().__init__(f"{code}: found {found}, expected {expected}", remedy=_REMEDIES[code])
        self.code = code

    @property
    def refusal(self) -> Refusal:
        """What the user reads."""
        return Refusal(code=self.code, message=self.message[:400], remedy=self.remedy)


class RenewalRefused(EnclaveError):
    """A renewal that is not taken: the lease stays as it was."""

    def __init__(self, field: str, found: str, expected: str) -> None:
        remedy = "ask for a nonce, and fetch a renewal for it from enough nodes"
        super().__init__(f"a renewal's {field} is {found}, expected {expected}", remedy=remedy)
        self.field = field


class AnswerBroken(EnclaveError):
    """An answer that ends early: its receipt is for what was released."""

    def __init__(self, code: SessionCode) -> None:
        super().__init__(f"the answer was broken off: {code}")
        self.code = code
