"""Count the rows of one table, and average one column of it."""

import csv
import io
import json


def run(inputs, parameters):
    """Entry point: ``inputs`` holds bytes by name, ``parameters`` the checked values; returns bytes by name."""
    rows = list(csv.DictReader(io.StringIO(bytes(inputs["rows"]).decode("utf-8-sig"), newline="")))
    column = parameters["column"]
    if not rows or column not in rows[0]:
        raise ValueError(f"expected rows with a column {column!r}")
    average = sum(float(row[column]) for row in rows) / len(rows)
    summary = {"average": round(average, parameters["digits"]), "rows": len(rows)}
    return {"summary.json": json.dumps(summary, sort_keys=True).encode()}
