"""Verifies one job from its policies to its settlement. Each check says what it expected and what it found.

    1. policy       the documents behind the seals agree with the job and allow this workload and purpose
    2. match        the job's id is that of its specification; this market matched it
    3. evidence     its hash was on chain before the decision; the evidence is acceptable, if a party discloses it
    4. decision     a quorum of the committee signed one core that accepts this enclave
    5. release      a threshold of nodes signed what they sent to this enclave; each of them had accepted it
    6. receipt      the accepted enclave signed it, about this job and these inputs
    7. result       the sealed result is the receipt's, and the enclave signed its settlement, or its failure
    8. settlement   the amounts and hashes that the market recorded are those of the job and the receipt; without a
                    settlement, the row of the fault table and its amounts

The outcomes of a check are those of :class:`~sealmarket.receipts.model.State`; only ``ok`` counts as ok. The
conclusion is the first that applies:

    refuted         a check failed
    consistent      the bundle agrees with itself; no chain, no address book of the reader's, or no final block
    incomplete      a part that every reader can have was left out of the bundle
    confirmed       the chain agrees with the bundle, in the market that the reader named
    proven          as confirmed, with the evidence, and a storage proof shows the market's slot under a block hash that
                    the reader named

The rules of the steps stand in :mod:`sealmarket.receipts.steps`, the types in :mod:`sealmarket.receipts.model`;
:mod:`sealmarket.receipts.facts` reads the chain.
"""

from __future__ import annotations

from sealmarket.receipts.bundle import ProofBundle
from sealmarket.receipts.model import Conclusion, Report, State, Step, Trusted
from sealmarket.receipts.steps import STEPS
from sealmarket_enclave.protocol.numbers import Grade


def verify_receipt(bundle: ProofBundle, trusted: Trusted) -> Report:
    """Run the eight steps. Never raises for what a bundle says: that is a failed check."""
    steps = tuple(
        Step(number, rule.name, rule.about, tuple(rule.checks(bundle, trusted))) for number, rule in enumerate(STEPS, 1)
    )
    return Report(
        job_id=bundle.job_id,
        steps=steps,
        conclusion=_conclusion(steps, trusted),
        simulated=bundle.core.grade == Grade.SIMULATED,
        block=trusted.facts.at if trusted.facts else None,
    )


def _conclusion(steps: tuple[Step, ...], trusted: Trusted) -> Conclusion:
    checks = [check for step in steps for check in step.checks]
    if any(check.state is State.FAILED for check in checks):
        return Conclusion.REFUTED
    facts = trusted.facts
    if facts is None or trusted.book is None or not facts.final:
        return Conclusion.CONSISTENT
    if any(check.state is State.UNKNOWN for check in checks):
        return Conclusion.INCOMPLETE
    whole = all(check.state is not State.UNDISCLOSED for check in checks)
    return Conclusion.PROVEN if facts.slot_proven and whole else Conclusion.CONFIRMED
