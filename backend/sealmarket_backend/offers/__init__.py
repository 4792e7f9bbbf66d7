"""The matching core: what is on offer, in memory, and which of it a request gets. It does no I/O.

Time, facts and sets are arguments. :mod:`.clauses` says when an offer fits, :mod:`.lane` and :mod:`.shelf` hold offers
in price-time order, :mod:`.search` finds the first that fits, :mod:`.resting` takes changes, and takes them back.
"""
