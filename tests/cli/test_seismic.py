"""Seismic from a file to a file: a SEG-Y cube loses traces, is inspected, and is filled again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.acquisitions.seismic import fold_of
from recon3d.scan import Scan
from recon3d.synthetic.seismic_scoring import scoring_cube
from recon3d.volume import Volume

pytest.importorskip("segyio")
Cli = Callable[..., Any]


@pytest.fixture
def gappy(cli: Cli, here: Path) -> Scan:
    """``cube.sgy`` and ``gappy.sgy``, which lacks a part of its traces."""
    recon3d.save(scoring_cube("linear", (16, 16, 40), 3), "cube.sgy")
    assert cli("simulate", "cube.sgy", "gappy.h5", "--config", "seismic-gaps", "missing=0.3").code == 0
    scan = recon3d.load("gappy.h5")
    assert isinstance(scan, Scan)
    recon3d.save(scan, "gappy.sgy")
    return scan


def test_segy_in_segy_out(cli: Cli, gappy: Scan) -> None:
    shown = cli("inspect", "gappy.sgy")
    assert "1 to 16 (16)" in shown.out
    assert "fold map" in shown.out
    assert "." in shown.out.splitlines()[-1] + shown.out.splitlines()[-2]
    assert cli("reconstruct", "gappy.sgy", "full.sgy", "--config", "seismic-pocs", "method.iterations=60").code == 0
    full, truth = recon3d.load("full.sgy"), recon3d.load("cube.sgy")
    assert isinstance(full, Volume)
    live = fold_of(gappy) > 0
    np.testing.assert_array_equal(full.data[live], truth.data[live])
    error = np.linalg.norm((full.data - truth.data)[~live]) / np.linalg.norm(truth.data[~live])
    assert error < 0.3
    for suffix in ("png", "html", "recon.json"):
        assert Path(f"full.{suffix}").stat().st_size > 0
    assert json.loads(Path("full.recon.json").read_text())["result"]["missing_share"] == pytest.approx(0.3, abs=0.01)


def test_hdf5_keeps_the_survey(cli: Cli, gappy: Scan) -> None:
    assert cli("reconstruct", "gappy.h5", "full.h5", "--config", "seismic-mssa", "method.iterations=1").code == 0
    full = recon3d.load("full.h5")
    assert isinstance(full, Volume)
    assert full.grid == gappy.grid


def test_faults_are_one_sentence(cli: Cli, gappy: Scan) -> None:
    Path("cut.sgy").write_bytes(Path("gappy.sgy").read_bytes()[:-7])
    for command, words in (
        (["inspect", "cut.sgy"], "it is cut short"),
        (["reconstruct", "gappy.sgy", "x.sgy", "--config", "seismic-fx"], "missing in a regular pattern"),
        (["simulate", "cube.sgy", "x.h5", "--config", "seismic-gaps", "missing=1.5"], "missing"),
        (["simulate", "cube.sgy", "x.h5", "--config", "seismic-gaps", "mask=holes"], "mask"),
    ):
        done = cli(*command)
        assert done.code == 2
        assert words in done.err
        assert len(done.err.strip().splitlines()) == 1
        assert not Path("x.sgy").exists()
        assert not Path("x.h5").exists()
