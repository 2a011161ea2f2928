"""Summary: what needs a person comes first, and no cell becomes a formula."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from recon3d.batch.cases import Case
from recon3d.batch.jobs import Outcome
from recon3d.batch.summary import COLUMNS, as_csv, looked_at_first, row_of


def done(name: str, ratio: float, *flags: str, **columns: str) -> dict[str, Any]:
    values = {"Residual": ratio, "Slice jumps": 1.5, "Values": 0.0, "Prior": None}
    checks = [
        {"name": check, "state": "look" if check in flags else "ok", "text": "", "value": value}
        for check, value in values.items()
    ]
    facts = {
        "checks": checks, "method": "tv", "units": "HU", "shape": [4, 5, 6], "residual": 0.1, "seconds": 2.0,
        "peak_memory": 3 * 2**20, "forecast": 4 * 2**20,
    }  # fmt: skip
    case = Case(name, Path(f"in/{name}.h5"), (), columns)
    return row_of(case, Outcome(name, "done", facts=facts), 1, f"{name}/{name}.nii.gz")


def test_a_row_holds_numbers_and_flags() -> None:
    row = done("a", 2.5, "Residual", age="61")
    assert tuple(row) == (*COLUMNS, "age")
    assert (row["flags"], row["residual_to_noise"], row["slice_jump"], row["misfits"]) == ("Residual", 2.5, 1.5, None)
    assert (row["shape"], row["peak_mib"], row["forecast_mib"]) == ("4 x 5 x 6", 3, 4)


def test_order() -> None:
    case = Case("z", Path("z.h5"))
    rows = [
        done("fine", 0.9),
        done("worse", 1.4),
        done("two", 1.0, "Values", "Slice jumps"),
        done("one", 3.0, "Residual"),
        row_of(case, Outcome("z", "failed", "permanent", "It is damaged."), 1, "z"),
    ]
    assert [row["case"] for row in looked_at_first(rows)] == ["z", "two", "one", "worse", "fine"]
    assert row_of(case, None, 0, "z")["state"] == "not run"
    assert row_of(case, Outcome("z", "skipped"), 0, "z")["state"] == "done before"


def test_csv_reads_back_and_holds_no_formula() -> None:
    rows = [done("=HYPERLINK(1)", 0.123456), done('b,\n"c"', 1.0, note="-x")]
    back = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert [row["case"] for row in back] == ["'=HYPERLINK(1)", 'b,\n"c"']
    assert (back[0]["residual_to_noise"], back[0]["note"], back[1]["note"]) == ("0.1235", "", "'-x")
    assert as_csv([]).startswith("case,state")
