"""Azure's confidential VMs: a paravisor stands between SNP or TDX hardware and the guest, and gives the guest a vTPM.

The hardware's report names the paravisor, and its report data the runtime data with the vTPM's attestation key; a vTPM
quote under that key names the guest by its PCRs and carries the caller's report data. ``hcl`` (the paravisor's report),
``tpm`` (the quote) <- ``authenticate`` <- ``findings``; ``rules`` is the policy's section.
"""
