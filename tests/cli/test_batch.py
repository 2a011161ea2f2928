"""`recon3d batch` as a person types it: a folder, a table, a dry run, and every refusal in one sentence."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recon3d.batch.pool import InProcess
from recon3d.errors import Interrupted

Cli = Callable[..., Any]
FBP = ("--config", "ct-parallel-fbp", "--quiet")


@pytest.fixture
def folder(here: Path) -> Path:
    (here / "in").mkdir()
    shutil.move(here / "scan.h5", here / "in" / "good.h5")
    (here / "in" / "bad.h5").write_bytes((here / "in" / "good.h5").read_bytes()[:900])
    return here


def test_a_folder_twice(cli: Cli, folder: Path) -> None:
    done = cli("batch", "in", *FBP)
    assert done.code == 1
    assert "1 done, 0 done before, 1 failed, of 2" in done.out
    assert "bad.h5 is damaged or truncated" in done.sentence
    out = folder / "in-recon3d"
    assert {p.name for p in out.iterdir()} == {"good", "summary.csv", "index.html", "batch.jsonl"}
    with (out / "summary.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert (rows["bad"]["state"], rows["good"]["state"], rows["good"]["method"]) == ("failed", "done", "fbp")
    assert float(rows["good"]["forecast_mib"]) > 0
    again = cli("batch", "in", *FBP, "--json")
    states = {row["case"]: row["state"] for row in json.loads(again.out)}
    assert (again.code, states) == (1, {"bad": "failed", "good": "done before"})
    refused = cli("batch", "in", *FBP, "method.filter=hann")
    assert "good.nii.gz exists already" in refused.err
    assert cli("batch", "in", *FBP, "method.filter=hann", "--force").out.count("1 done, 0 done before") == 1


def test_a_table_with_settings_and_a_dry_run(cli: Cli, folder: Path) -> None:
    (folder / "t.csv").write_text("input,name,method.filter,age\nin/good.h5,a,hann,61\nin/good.h5,b,,\n")
    dry = cli("batch", "t.csv", *FBP, "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert "2 of 2 cases to do" in dry.out
    assert dry.out.splitlines()[0].split()[:3] == ["case", "state", "method"]
    assert not (folder / "t-recon3d").exists()
    assert json.loads(cli("batch", "t.csv", *FBP, "--dry-run", "--json").out)[0]["case"] == "a"
    assert cli("batch", "t.csv", *FBP, "-o", "out", "--suffix", ".h5").code == 0
    filters = [json.loads((folder / f"out/{n}/{n}.recon.json").read_text())["method"]["filter"] for n in "ab"]
    assert filters[0] == "hann" != filters[1]
    assert "age" in (folder / "out/summary.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none",), "none is no folder and no table"),
        (("none.csv",), "There is no file or folder none.csv"),
        (("in", "-o", "truth.nii.gz"), "is a file: give the name of a folder"),
        (("in", "--suffix", ".xyz"), "no suffix that can be written"),
        (("in", "--cluster", "sge"), "--cluster is one of slurm, pbs, lsf"),
        (("in", "--cluster", "slurm", "--scheduler", "tcp://x:1"), "give --scheduler or --cluster, not both"),
        (("in", "method.filtr=hann"), "filter"),
    ],
)
def test_refusals(cli: Cli, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    refused = cli("batch", *arguments, *FBP)
    assert (refused.code, said in refused.sentence) == (2, True), refused.err


def test_faults_of_rows_are_told_at_once(cli: Cli, folder: Path) -> None:
    rows = "".join(f"in/good.h5,c{k},wrong\n" for k in range(7))
    (folder / "t.csv").write_text(f"input,name,method.filter\n{rows}")
    said = cli("batch", "t.csv", *FBP).sentence
    assert said.count("Case c") == 5
    assert "And 2 cases more." in said


def test_what_stopped_a_batch_is_the_last_word(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(pool: InProcess) -> None:
        raise Interrupted("The scheduler was lost; the same command goes on from here.")

    monkeypatch.setattr(InProcess, "next", lost)
    done = cli("batch", "in", *FBP)
    assert done.code == 130
    assert done.sentence == "The scheduler was lost; the same command goes on from here. 2 cases are left."
