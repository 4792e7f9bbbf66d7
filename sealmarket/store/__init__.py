"""The blob store: content under its hash, and what the parties of a job post beside it. It is not trusted."""
