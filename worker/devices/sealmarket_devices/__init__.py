"""Virtual TEE devices: separate processes that measure what they launch and emit evidence in the real formats.

Everything they sign ends in a development root made on this machine. They stand in for silicon and for
nothing else; production profiles refuse their evidence.
"""
