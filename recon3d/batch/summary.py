"""The summary of a batch: one row per case with its flags, as CSV, the cases to look at first on top."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from recon3d.batch.cases import Case
from recon3d.batch.jobs import Outcome

NUMBERS = {"Residual": "residual_to_noise", "Slice jumps": "slice_jump", "Values": "clipped_share", "Prior": "misfits"}
"""By the name of a check (`recon3d.report.checks`): the column of its number."""
COLUMNS = (
    "case", "state", "flags", *NUMBERS.values(), "residual", "method", "units", "shape", "seconds", "peak_mib",
    "forecast_mib", "attempts", "input", "result", "fault",
)  # fmt: skip
MEBI = 2**20

Row = dict[str, Any]


def row_of(case: Case, outcome: Outcome | None, attempts: int, result: str) -> Row:
    """The row of a case; of one that never ran where there is no outcome.

    Parameters
    ----------
    result : its file, relative to the folder of the batch
    """
    facts: Mapping[str, Any] = outcome.facts if outcome is not None else {}
    checks = facts.get("checks", [])
    row: Row = {"case": case.name, "state": _state(outcome)}
    row["flags"] = "; ".join(check["name"] for check in checks if check["state"] == "look")
    row |= {NUMBERS[check["name"]]: check["value"] for check in checks if check["name"] in NUMBERS}
    if facts:
        row |= {name: facts[name] for name in ("residual", "method", "units", "seconds")}
        row |= {
            "shape": " x ".join(map(str, facts["shape"])),
            "peak_mib": round(facts["peak_memory"] / MEBI),
            "forecast_mib": round(facts["forecast"] / MEBI),
        }
    row |= {"attempts": attempts or None, "input": str(case.input), "result": result if facts else ""}
    row["fault"] = outcome.fault if outcome is not None else ""
    return {column: row.get(column) for column in COLUMNS} | dict(case.columns)


def looked_at_first(rows: Iterable[Row]) -> list[Row]:
    """Failed cases, then those with most flags, then those that explain their data worst."""

    def order(row: Row) -> tuple[bool, int, float, float, str]:
        flags = len([flag for flag in str(row["flags"] or "").split("; ") if flag])
        misfit, jump = (float(row[name] or 0.0) for name in ("residual_to_noise", "slice_jump"))
        return row["state"] in ("done", "done before"), -flags, -misfit, -jump, str(row["case"])

    return sorted(rows, key=order)


def as_csv(rows: Iterable[Row]) -> str:
    """The rows as CSV. Text that a spreadsheet would take for a formula begins with an apostrophe."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(COLUMNS)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_harmless(name) for name in columns])
    writer.writerows([[_harmless(_short(row.get(name))) for name in columns] for row in rows])
    return stream.getvalue()


def _state(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run"
    return "done before" if outcome.state == "skipped" else outcome.state


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
