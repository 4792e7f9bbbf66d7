"""The ways to reach a TEE from a host: an interface, and the table of the installed drivers.

A driver is a distribution of its own that declares an entry point in the group ``sealmarket.drivers``. The host imports
none of them by name.
"""
