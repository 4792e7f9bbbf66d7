"""Sealed data: the chunked container, key shares, HPKE and key backup files. Imports only ``protocol``."""
