"""A user's side of a service: verified once, then asked under grants, with a receipt for each answer.

=========  ===========================================================================================
errors     what is refused, and why
service    is this the enclave that the committee accepted, under each owner's policy and the user's own
host       the provider's host, which carries sealed bytes
grants     session keys and request numbers on disk, written before they are used
receipts   what the enclave signed: checked, kept, and checked again offline
air        the same as an Attested Inference Receipt
asking     one request: sealed, sent, its frames opened, its receipt held against all of it
pool       several grants, so that requests run side by side
openai     units that a request may cost, and errors as OpenAI's clients know them
proxy      the local server
=========  ===========================================================================================

Imports point one way, downwards in this table from ``proxy`` to ``errors``. Nothing here asks anything but the one
service that was verified: what it does not answer stays unanswered.
"""
