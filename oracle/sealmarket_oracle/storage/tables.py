"""The tables of a journal, as SQLite reads them; :mod:`postgres` translates the types."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cursor (
    "only" INTEGER PRIMARY KEY CHECK ("only" = 1), number INTEGER NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS seals (
    asset_id BLOB NOT NULL, version INTEGER NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (asset_id, version)
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
    job_id BLOB PRIMARY KEY, spec BLOB NOT NULL,
    matched_number INTEGER NOT NULL, matched_hash BLOB NOT NULL, matched_time INTEGER NOT NULL,
    evidence_hash BLOB, quoted_number INTEGER, quoted_hash BLOB, quoted_time INTEGER, decide_by INTEGER,
    quorum BLOB, quorum_number INTEGER, quorum_time INTEGER, ended INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS open_jobs ON jobs (ended) WHERE ended = 0;
CREATE TABLE IF NOT EXISTS decisions (
    job_id BLOB NOT NULL, evidence_hash BLOB NOT NULL, epoch INTEGER NOT NULL,
    decision BLOB NOT NULL, detail BLOB NOT NULL, enclave_key BLOB NOT NULL,
    PRIMARY KEY (job_id, evidence_hash, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS promises (
    job_id BLOB PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('release', 'stop')), body BLOB NOT NULL,
    size INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS results (
    job_id BLOB PRIMARY KEY, result_hash BLOB NOT NULL, receipt_hash BLOB NOT NULL, units INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS challenges (
    job_id BLOB PRIMARY KEY, challenger BLOB NOT NULL, since INTEGER NOT NULL, deadline INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0, available INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS unreadable (subject BLOB PRIMARY KEY, reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS log (
    sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL, leaf BLOB NOT NULL, words TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS log_state (
    "only" INTEGER PRIMARY KEY CHECK ("only" = 1),
    size INTEGER NOT NULL, peaks BLOB NOT NULL, witnessed INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS deferrals (job_id BLOB NOT NULL, rules BLOB NOT NULL, PRIMARY KEY (job_id, rules)) STRICT;
CREATE TABLE IF NOT EXISTS peer_tails (signer BLOB PRIMARY KEY, size INTEGER NOT NULL, tail BLOB NOT NULL) STRICT;
"""
