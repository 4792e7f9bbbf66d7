"""Proof bundles of settled jobs, and their verification (docs/spec/receipt.md).

===========  =========================================================================================
bundle       what a proof bundle holds, how it is read and written, how it is collected after a job
model        the reader's context, checks, steps, the report; the functions that rules are written with
steps        the rules of the eight steps, and their table ``STEPS``
verify       runs the table and concludes: refuted, consistent, confirmed, proven
facts        reads from the chain, at one block, what the steps compare with; storage proof of the slot
===========  =========================================================================================

Imports point one way: bundle <- model <- steps <- verify, and model <- facts.
"""
