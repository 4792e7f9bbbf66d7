"""Evidence from trusted hardware: is it authentic, and is it acceptable?

    core         vocabulary, interface of a TEE, what all vendors share
    intel, amd, arm, nitro, nvidia: one package per vendor, independent of each other; azure: a paravisor over two
                 of them
    registry     the table of TEEs: the only importer of the vendors' packages
    parse        bytes -> evidence
    composite    a file of several pieces of evidence
    collateral   trust anchors; the store of endorsements; ``fetch``, the one module that talks to the network
    policy       the appraisal policy; ``verify`` (authenticate, appraise); EAR; simulate; forecast

Each line imports only lines above it. Trust anchors, time and endorsements are arguments. This module holds nothing
else: import the modules by name.
"""
