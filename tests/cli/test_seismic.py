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
from recon3d.evaluation.seismic import snr_db
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


def test_mask_beside_the_cube_and_hold_out(cli: Cli, gappy: Scan) -> None:
    """The mask that a result leaves takes it back to its recorded traces; hidden ones are scored as the missing are."""
    extra = ["--config", "seismic-pocs", "method.iterations=60"]
    hold_out = ["evidence.hold_out=0.1", "evidence.hold_out_side=2"]
    done = cli("reconstruct", "gappy.sgy", "full.sgy", *extra, *hold_out)
    assert done.code == 0
    live = fold_of(gappy) > 0
    np.testing.assert_array_equal(np.load("full.mask.npy"), live)
    told = json.loads(Path("full.recon.json").read_text())["result"]
    assert 0.1 * live.sum() <= told["hold_out_traces"] < 0.1 * live.sum() + 4
    truth, full = recon3d.load("cube.sgy"), recon3d.load("full.sgy")
    assert told["hold_out_snr_db"] == pytest.approx(snr_db(truth.data, full.data, ~live), abs=6)
    assert "hold_out_snr_db" in done.out
    again = cli("reconstruct", "full.sgy", "again.sgy", *extra, "scan.seismic.mask=full.mask.npy")
    assert again.code == 0
    np.testing.assert_array_equal(recon3d.load("again.sgy").data, full.data)


def test_faults_of_masks_and_hold_outs_are_one_sentence(cli: Cli, gappy: Scan) -> None:
    np.save("flat.npy", np.ones(5))
    np.save("none.npy", np.zeros(gappy.grid.shape[:2]))
    np.save("grey.npy", np.full(gappy.grid.shape[:2], 0.5))
    Path("words.npy").write_text("no array")
    method = ["--config", "seismic-pocs"]
    for command, words in (
        (["gappy.sgy", "scan.seismic.mask=flat.npy"], "expected 0 or 1 for (16, 16)"),
        (["gappy.sgy", "scan.seismic.mask=grey.npy"], "expected 0 or 1 for (16, 16)"),
        (["gappy.sgy", "scan.seismic.mask=words.npy"], "is no .npy array"),
        (["gappy.sgy", "scan.seismic.mask=lost.npy"], "does not exist"),
        (["gappy.sgy", "scan.seismic.mask=none.npy"], "leaves no trace"),
        (["cube.sgy", "scan.seismic.mask=none.npy"], "hides every trace"),
        (["gappy.sgy", "evidence.hold_out=0.5", "evidence.hold_out_side=64"], "hides all"),
    ):
        done = cli("reconstruct", command[0], "x.sgy", *method, *command[1:])
        assert done.code == 2
        assert words in done.err
        assert len(done.err.strip().splitlines()) == 1
        assert not Path("x.sgy").exists()


def test_hdf5_keeps_the_survey(cli: Cli, gappy: Scan) -> None:
    assert cli("reconstruct", "gappy.h5", "full.h5", "--config", "seismic-mssa", "method.iterations=1").code == 0
    full = recon3d.load("full.h5")
    assert isinstance(full, Volume)
    assert full.grid == gappy.grid


def test_faults_are_one_sentence(cli: Cli, gappy: Scan) -> None:
    whole, trace = Path("gappy.sgy").read_bytes(), 240 + 4 * 40
    Path("cut.sgy").write_bytes(whole[:-7])
    Path("format.sgy").write_bytes(whole[:3224] + b"\x00\x63" + whole[3226:])
    Path("twice.sgy").write_bytes(whole + whole[-trace:])
    headers = [whole[start : start + 240] for start in range(3600, len(whole), trace)]
    Path("dead.sgy").write_bytes(whole[:3600] + b"".join(header + bytes(4 * 40) for header in headers))
    for command, words in (
        (["inspect", "cut.sgy"], "it is cut short"),
        (["reconstruct", "cut.sgy", "x.sgy", "--config", "seismic-pocs"], "it is cut short"),
        (
            ["reconstruct", "format.sgy", "x.sgy", "--config", "seismic-pocs"],
            "states sample format 99: expected one of",
        ),
        (["reconstruct", "twice.sgy", "x.sgy", "--config", "seismic-pocs"], "1 bins hold more than one trace"),
        (["reconstruct", "dead.sgy", "x.sgy", "--config", "seismic-pocs"], "are dead"),
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
