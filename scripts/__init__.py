"""What `scripts/demo`, `scripts/test` and their siblings run once the set-up is done."""
