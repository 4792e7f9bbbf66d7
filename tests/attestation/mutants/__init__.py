"""Rules of the verifier, each with the edit that switches it off and words in the name of the test that then fails."""
