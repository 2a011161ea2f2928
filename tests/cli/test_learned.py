"""What a learned method leaves: its result, the evidence beside it, and a word on a prior that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from recon3d.io import load

Cli = Callable[..., Any]
DDS = ("--config", "ct-8view-dds", "method.steps=2", "--force-prior", "evidence.classical=sirt")
EVIDENCE = {"dds.classical.nii.gz", "dds.residual.nii.gz", "dds.null-space.nii.gz"}
RESULT = {"dds.nii.gz", "dds.html", "dds.png", "dds.recon.json"}


def test_the_evidence_lies_beside_a_learned_result(cli: Cli, here: Path, left: Callable[[], set[str]]) -> None:
    done = cli("reconstruct", "scan.h5", "dds.nii.gz", *DDS)
    assert done.code == 0, done.err
    assert "Warning: the prior ct-axial needs slices of at least 16 pixels a side" in done.err
    assert left() == RESULT | EVIDENCE
    assert cli("reconstruct", "scan.h5", "sirt.nii.gz", "--config", "ct-parallel-sirt").code == 0
    np.testing.assert_array_equal(load("dds.classical.nii.gz").data, load("sirt.nii.gz").data)
    record = json.loads((here / "dds.recon.json").read_text())
    assert record["evidence"]["classical"] == "sirt"
    assert 0 < record["evidence"]["undetermined_share"] < 1
    assert "needs slices of at least 16 pixels" in record["misfits"][0]
    result, free = load("dds.nii.gz"), load("dds.null-space.nii.gz")
    assert free.units == "HU"
    assert np.abs(free.data).max() < np.abs(result.data + 1000).max()
    page = (here / "dds.html").read_text()
    for layer in ("classical", "residual", "null space", "The model was forced on a scan that it does not fit"):
        assert layer in page
    (here / "dds.html").unlink()
    assert cli("view", "dds.nii.gz", "--no-open").code == 0
    assert "null space" in (here / "dds.html").read_text()


def test_the_evidence_is_a_choice_and_is_not_overwritten(cli: Cli, here: Path, left: Callable[[], set[str]]) -> None:
    (here / "dds.residual.nii.gz").write_bytes(b"mine")
    done = cli("reconstruct", "scan.h5", "dds.nii.gz", *DDS)
    assert (done.code, "dds.residual.nii.gz exists already" in done.sentence) == (2, True)
    done = cli("reconstruct", "scan.h5", "x.nii.gz", *DDS[:-1], "evidence.classical=dds")
    assert (done.code, "'dds' needs one" in done.sentence) == (2, True)
    chosen = ("evidence.classical=none", "evidence.residual=false", "evidence.null_space=false")
    assert cli("reconstruct", "scan.h5", "dds.nii.gz", *DDS[:-1], *chosen).code == 0
    assert left() - {"dds.residual.nii.gz"} == RESULT


def test_slabs_leave_no_evidence_and_say_so(cli: Cli, here: Path, left: Callable[[], set[str]]) -> None:
    done = cli("reconstruct", "scan.h5", "dds.nii.gz", *DDS, "method.data=cg", "--max-memory", "150K")
    assert done.code == 0, done.err
    assert "No evidence beside the result" in done.err
    assert left() == RESULT


def test_a_classical_method_that_refuses_the_scan_costs_no_result(
    cli: Cli, here: Path, left: Callable[[], set[str]]
) -> None:
    done = cli("reconstruct", "scan.h5", "dds.nii.gz", *DDS[:-1], "evidence.classical=zero_filled")
    assert done.code == 0
    assert "No evidence beside the result: Method 'zero_filled' is for MRI" in done.err
    assert left() == RESULT


def test_without_a_recipe_the_method_chooses_itself(cli: Cli, here: Path) -> None:
    done = cli("reconstruct", "scan.h5", "auto.nii.gz")
    assert done.code == 0
    assert "12 views where 22 per half turn are complete: fbp." in done.err
    record = json.loads((here / "auto.recon.json").read_text())
    assert record["method"]["name"] == "fbp"
    assert record["notes"][0].endswith("complete: fbp.")
    done = cli("reconstruct", "scan.h5", "x.nii.gz", "scan.views.every=2", "--time-budget", "1h", "--dry-run")
    assert "note     6 views where 22 per half turn are complete, no prior" in done.out
    assert "method   tv" in done.out


def test_samples_leave_their_mean_and_spread_for_a_dicom_map(
    cli: Cli, here: Path, left: Callable[[], set[str]]
) -> None:
    done = cli("reconstruct", "scan.h5", "dds.nii.gz", *DDS, "method.samples=2")
    assert done.code == 0, done.err
    assert left() == RESULT | EVIDENCE | {"dds.uncertainty.nii.gz"}
    spread = load("dds.uncertainty.nii.gz")
    assert (spread.units, spread.data.shape) == ("HU", load("dds.nii.gz").data.shape)
    assert (spread.data > 0).all()
    record = json.loads((here / "dds.recon.json").read_text())
    assert record["result"]["error_bar"].startswith("Spread of 2 samples")
    assert cli("convert", "dds.uncertainty.nii.gz", "map.dcm", "--parametric-map").code == 0
    written = pydicom.dcmread(here / "map.dcm")
    assert written.SOPClassUID.name == "Parametric Map Storage"
    assert written.NumberOfFrames == len(spread.data)


@pytest.mark.parametrize(
    ("told", "label", "explanation"),
    [
        ("Spread of 4 samples: no error bar, the prior is not calibrated for 'dds'.", "SPREAD", "NOT calibrated"),
        ("Spread of 4 samples times 2: ...; not proven for other scans.", "UNCERTAINTY", "calibrated on synthetic"),
    ],
)
def test_a_dicom_map_says_whether_it_is_an_error_bar(
    cli: Cli, here: Path, told: str, label: str, explanation: str
) -> None:
    model = {"prior": {"name": "ct-axial", "sha256": "0ab1"}}
    record = {"recon3d": "0", "config": {}, "input": {"path": "scan.h5"}, "method": {"name": "dds"}, "models": model}
    (here / "dds.recon.json").write_text(json.dumps({**record, "result": {"error_bar": told}}))
    (here / "truth.nii.gz").rename(here / "dds.uncertainty.nii.gz")
    assert cli("convert", "dds.uncertainty.nii.gz", "map.dcm", "--parametric-map").code == 0
    written = pydicom.dcmread(here / "map.dcm")
    mapping = written.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.LUTLabel == label
    assert explanation in mapping.LUTExplanation
    assert "dds" in written.SeriesDescription
