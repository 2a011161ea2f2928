"""Streamed scans: read slab by slab from their file they give the bits of the whole."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.config import ReconstructConfig, validate
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io import load, save
from recon3d.methods.zero_filled import ZeroFilled
from recon3d.runtime import streamed
from recon3d.runtime.case import reconstruct_case
from recon3d.volume import Volume

SLICES, SIDE = 9, 24


def ball(low: float, high: float, units: str) -> Volume:
    z, y, x = np.ogrid[-1 : 1 : SLICES * 1j, -1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = np.where(z**2 + y**2 + x**2 < 0.7, high, low) * (1 + 0.3 * z)
    return Volume(inside.astype(np.float32), AffineGrid.centred((SLICES, SIDE, SIDE), 2.0), units=units)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    ct = recon3d.simulate(ball(0.0, 0.02, "1/mm"), {"views": 20}, noise={"photons": 1e5}, finer=1)
    save(ct, folder / "ct.h5")
    mri = recon3d.simulate(
        ball(0.0, 1.0, "1"), {"kind": "mri", "coils": 4, "centre_fraction": 0.3}, noise={"snr": 40.0}, finer=1
    )
    save(mri, folder / "mri.h5")
    return folder


def solved(path: Path, output: Path, method: dict[str, Any], **settings: Any) -> tuple[Volume, dict[str, Any]]:
    config: ReconstructConfig = validate(ReconstructConfig, {"method": method, **settings}, "test")
    reconstruct_case(path, output, config, quiet=True)
    volume = load(output)
    assert isinstance(volume, Volume)
    return volume, json.loads(output.with_suffix(".recon.json").read_text())


@pytest.mark.parametrize(
    ("name", "volumes", "method", "settings"),
    [
        ("ct", 4, {"name": "fbp"}, {}),
        ("ct", 6, {"name": "sirt", "iterations": 3}, {"scan": {"support": "field-of-view"}}),
        ("ct", 4, {"name": "sirt", "iterations": 3}, {"scan": {"views": {"every": 2}, "water_per_mm": 0.02}}),
        ("mri", 26, {"name": "cg_sense", "iterations": 4}, {"complex": True}),
    ],
)
def test_a_streamed_scan_gives_the_bits_of_the_whole(
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    volumes: int,
    method: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    whole, record = solved(scans / f"{name}.h5", tmp_path / "whole.h5", method, **settings)
    assert not record["plan"]["streamed"]
    assert record["plan"]["slab"] == SLICES
    limit = 4 * SIDE**2 * SLICES * volumes
    monkeypatch.setattr(streamed, "SHARE", 40)  # these scans are small
    part, record = solved(scans / f"{name}.h5", tmp_path / "part.h5", method, **settings, run={"max_memory": limit})
    assert record["plan"]["streamed"]
    assert record["plan"]["slab"] < SLICES
    assert np.array_equal(part.data, whole.data)
    assert (part.units, part.grid) == (whole.units, whole.grid)


def test_a_slab_is_forgotten_before_the_next(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator and its adjoint hold each other, so that without the collector all slabs would pile up."""
    monkeypatch.setattr(streamed, "SHARE", 40)
    seen: list[weakref.ref[Any]] = []
    alive: list[int] = []
    real = ZeroFilled.reconstruct

    def watched(self: ZeroFilled, problem: Any, *rest: Any) -> Any:
        alive.append(sum(ref() is not None for ref in seen))
        seen.append(weakref.ref(problem.A))
        return real(self, problem, *rest)

    monkeypatch.setattr(ZeroFilled, "reconstruct", watched)
    gc.disable()
    try:
        limit = {"max_memory": 4 * SIDE**2 * SLICES * 26}
        solved(scans / "mri.h5", tmp_path / "out.h5", {"name": "zero_filled"}, complex=True, run=limit)
    finally:
        gc.enable()
    assert len(alive) > 1
    assert not any(alive)


def test_what_needs_the_whole_scan_reads_it(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "SHARE", 10**9)
    tv = {"name": "tv", "iterations": 1}  # joins slices
    assert not solved(scans / "ct.h5", tmp_path / "tv.h5", tv)[1]["plan"]["streamed"]
    centred = {"preprocess": {"centre": "file"}}
    assert not solved(scans / "ct.h5", tmp_path / "fbp.h5", {"name": "fbp"}, **centred)[1]["plan"]["streamed"]


def test_faults_inside_a_streamed_scan_are_told(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "SHARE", 10**9)
    scan = load(scans / "ct.h5")
    assert isinstance(scan, recon3d.Scan)
    scan.data[3, SLICES - 1, 2] = np.nan  # type: ignore[call-overload]
    with monkeypatch.context() as m:
        m.setattr(np, "count_nonzero", lambda a: np.size(a))  # such a scan is not made by us
        save(scan, tmp_path / "nan.h5")
    with pytest.raises(InputError, match="holds 1 NaN"):
        solved(tmp_path / "nan.h5", tmp_path / "out.h5", {"name": "fbp"})
    assert [p.name for p in tmp_path.iterdir()] == ["nan.h5"]


def test_samplers_draw_the_same_noise_in_a_streamed_scan(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"name": "dds", "steps": 2, "data": "cg"}
    settings: dict[str, Any] = {
        "scan": {"water_per_mm": 0.02},
        "models": {"prior": "ct-axial"},
        "force_prior": True,
        "evidence": {"classical": "none", "residual": False, "null_space": False},
    }
    run: dict[str, Any] = {"micro_batch": 1}  # of which numbers depend
    whole, record = solved(scans / "ct.h5", tmp_path / "whole.h5", method, **settings, run=run)
    assert not record["plan"]["streamed"]
    monkeypatch.setattr(streamed, "SHARE", 10**9)
    run["max_memory"] = int(0.7 * record["plan"]["forecast"])
    part, record = solved(scans / "ct.h5", tmp_path / "part.h5", method, **settings, run=run)
    assert record["plan"]["streamed"]
    assert record["plan"]["slab"] < SLICES
    assert np.array_equal(part.data, whole.data)
