"""Scores as CSV, JSON, HTML and pictures."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from recon3d.evaluation.fastmri import Scores, VolumeScores
from recon3d.evaluation.score_table import CaseScore, ScoreTable
from recon3d.report.score_sheet import as_csv, as_html, as_json, case_labels, case_picture, pair_rows, summary_rows


def case(method: str, volume: str, psnr_db: float, acceleration: int = 4) -> CaseScore:
    scores = Scores(1e-12, 0.01, psnr_db, 0.9)
    return CaseScore(method, volume, "AXT2", acceleration, 16, VolumeScores(scores, scores))


@pytest.fixture
def table() -> ScoreTable:
    cases = [case("<b>", v, 30.0 + k, 4 if k < 2 else 8) for k, v in enumerate("uvw")]
    cases += [case("perfect", v, math.inf) for v in "uvw"]
    return ScoreTable(["<b>", "perfect"], cases, ["perfect/x.h5 & y is missing."], patients=2)


def test_means_by_group(table: ScoreTable) -> None:
    rows = [row for row in summary_rows(table) if row["method"] == "<b>" and row["region"] == "official"]
    assert [(row["volumes"], row["n"]) for row in rows] == [("all", "3"), ("AXT2 R 4", "2"), ("AXT2 R 8", "1")]
    assert rows[0]["PSNR dB"] == "31.00 [28.52, 33.48]"
    assert rows[2]["PSNR dB"] == "32.00"


def test_perfect_volumes_have_no_interval_and_no_p(table: ScoreTable) -> None:
    assert {row["PSNR dB"] for row in summary_rows(table) if row["method"] == "perfect"} == {"inf"}
    row = next(row for row in pair_rows(table) if row["metric"] == "PSNR dB")
    assert (row["p"], row["p adjusted"]) == ("-", "-")


def test_what_must_be_known(table: ScoreTable) -> None:
    said = " ".join(table.remarks())
    assert "no p can be below 0.25" in said
    assert "3 volumes come from 2 patients" in said


def test_files(table: ScoreTable) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert (len(rows), rows[0]["PSNR dB"], rows[3]["PSNR dB"]) == (6, "30.0", "inf")
    found = json.loads(as_json(table, {"reference": "full"}), parse_constant=lambda name: pytest.fail(name))
    assert found["reference"] == "full"
    assert found["volumes"][3]["official"]["psnr_db"] is None
    page = as_html(table, {"reference": "<i>"}, {"u": b"\x89PNG"})
    assert "<b>" not in page.replace("<body>", "")
    assert "<i>" not in page
    assert "perfect/x.h5 &amp; y is missing." in page
    assert "data:image/png;base64,iVBORw==" in page


def test_no_scores_at_all() -> None:
    empty = ScoreTable(["a"], [], ["a/x.h5 is missing."])
    assert as_csv(empty) == "method,volume\n"
    assert summary_rows(empty) == pair_rows(empty) == []
    assert "a/x.h5 is missing." in as_html(empty, {})


def test_picture_of_a_case(table: ScoreTable) -> None:
    import matplotlib.image

    target = np.random.default_rng(0).random((3, 20, 16))
    assert case_labels(table, "u") == {"<b>": "30.00 dB, SSIM 0.9000", "perfect": "inf dB, SSIM 0.9000"}
    png = case_picture("u", target, {"same": target, "dark": 0 * target})
    pixels = matplotlib.image.imread(io.BytesIO(png))[..., :3]
    height, width = pixels.shape[:2]
    lower = pixels[int(0.6 * height) : int(0.9 * height)]
    same, dark = lower[:, width // 3 + 4 : 2 * width // 3 - 4], lower[:, 2 * width // 3 + 4 : -4]
    assert same.max() < 0.1  # no error is black
    assert dark.max() > 0.9
