"""The kind ``session``: a service that answers the requests of many accounts until it ends."""
