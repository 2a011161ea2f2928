"""Tables: three formats, one meaning; settings by column; a fault names its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recon3d.batch.cases import Case
from recon3d.batch.tables import read_table
from recon3d.errors import InputError

CSV = "input,name,method.iterations,run.seed,age\na.h5,first,5,,61\nsub/b.h5,,,7,\n"


def expected(folder: Path) -> list[Case]:
    return [
        Case("first", folder / "a.h5", ("method.iterations=5",), {"age": "61"}),
        Case("b", folder / "sub/b.h5", ("run.seed=7",), {}),
    ]


def test_csv(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    for text in (CSV, "\ufeff" + CSV, CSV.replace(",", ";"), CSV + ",,,,\n"):
        table.write_text(text, encoding="utf-8")
        assert read_table(table) == expected(tmp_path)


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"input": "a.h5", "name": "first", "method": {"iterations": 5}, "age": 61},
        {"input": "sub/b.h5", "run.seed": 7},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert read_table(tmp_path / "t.jsonl") == expected(tmp_path)


def test_excel(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [
        ("input", "name", "method.iterations", "run.seed", "age"),
        ("a.h5", "first", 5.0, None, "61"),
        ("sub/b.h5", None, None, 7, None),
        (None,) * 5,
    ]:
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx") == expected(tmp_path)
    (tmp_path / "bad.xlsx").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"no whole \.xlsx"):
        read_table(tmp_path / "bad.xlsx")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input\n", "has no rows"),
        ("name,run.seed\nx,1\n", r"t\.csv, row 2: the column 'input' is empty"),
        ("input,methd.iterations\na.h5,5\n", "did you mean 'method'"),
        ("input,Scan\na.h5,5\n", "did you mean 'scan'"),
        ("input\na.h5\na.h5\n", "two cases named 'a'"),
        ("input,name\na.h5,../../etc\n", "cannot be a folder"),
        ("input,name\na.h5,/etc\n", "cannot be a folder"),
        ("input,name\na.h5,x\x1b[2J\n", "cannot be a folder"),
        ("input,name\na.h5,b,c\n", "row 2: more cells than columns"),
    ],
)
def test_faults_name_the_row(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_table(tmp_path / "t.csv")


def test_json_lines_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"input": "a.h5"}\n[1]\n')
    with pytest.raises(InputError, match="row 2: expected a JSON object"):
        read_table(tmp_path / "t.jsonl")
    (tmp_path / "t.csv").write_bytes(b"input\n\xff.h5\n")
    with pytest.raises(InputError, match="CSV in UTF-8"):
        read_table(tmp_path / "t.csv")
