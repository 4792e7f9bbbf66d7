"""Sealmarket: what all parties must agree on, the SDK and the command line."""
