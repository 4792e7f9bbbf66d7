"""What every listener and every long-running program of the market keeps to: limits, rates, one process a folder.

It names no web framework: the programs hand their server and their application in.
"""
