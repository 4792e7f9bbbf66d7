"""Where a journal lies: its connections, and transactions of several threads that share one commit."""
