"""The key oracle node: appraises evidence, signs decisions, releases its share."""
