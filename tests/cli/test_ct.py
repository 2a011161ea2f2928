"""CT projections with mistakes in them, from the command line: refused in one sentence, or guessed and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.cli.conftest import Answer

Cli = Callable[..., Answer]
VIEWS, ROWS, COLUMNS = 24, 2, 32


def exchange(path: Path, narrow: bool = False, unit: str = "degrees", pixel: float = 0.65, **changed: Any) -> Path:
    """A Data Exchange file: a disc of 24 columns about the axis, or its middle 16 columns alone."""
    across = np.arange(COLUMNS) - (COLUMNS - 1) / 2
    chord = 0.08 * 2 * np.sqrt(np.maximum(144.0 - across**2, 0.0))
    counts = np.broadcast_to(100 + 2000 * np.exp(-chord), (VIEWS, ROWS, COLUMNS)).copy()
    parts = {"data": counts, "data_white": np.full((2, ROWS, COLUMNS), 2100.0),
             "data_dark": np.full((2, ROWS, COLUMNS), 100.0)}  # fmt: skip
    parts |= {name: change(parts) for name, change in changed.items()}
    if narrow:
        parts = {name: value[..., 8:24] for name, value in parts.items()}
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            file[f"exchange/{name}"] = value
        theta = np.arange(VIEWS) * 180.0 / VIEWS
        file["exchange/theta"] = theta if unit == "degrees" else np.deg2rad(theta)
        file["exchange/theta"].attrs["units"] = "degrees"
        size = file.create_dataset("measurement/instrument/detector/actual_pixel_size_x", data=pixel)
        size.attrs["units"] = "mm"
    return path


def swapped(parts: dict[str, Any]) -> Any:
    return parts["data_white"] * 0 + 50.0


RECIPE = ["--config", "ct-synchrotron-fbp", "preprocess.stripes=none", "preprocess.centre=file"]
REFUSED = {
    "negative counts": ({"data": lambda parts: parts["data"] - 500.0}, [], "are negative (lowest"),
    "flats darker than darks": ({"data_white": swapped}, [], "darker than its dark field"),
    "no beam": ({"data_white": lambda parts: parts["data_dark"] + (np.arange(COLUMNS) > 12)}, [], "show no beam"),
    "axis off the detector": ({}, ["preprocess.centre=40"], "off the detector of 32 columns: check its unit"),
    "detector too small": ({"narrow": True}, ["preprocess.truncation=refuse"], "The detector is too small for"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(cli: Cli, tmp_path: Path, case: str) -> None:
    changed, arguments, said = REFUSED[case]
    path = exchange(tmp_path / "scan.h5", **changed)  # type: ignore[arg-type]
    done = cli("reconstruct", path, tmp_path / "out.nii.gz", *RECIPE, *arguments)
    assert done.code == 2
    assert said in done.sentence
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scan.h5"]


TOLD = {
    "pixels in micrometres": ({"pixel": 650.0}, "650 mm cannot be a pixel, taken as um"),
    "angles in radians": ({"unit": "radians"}, "angles stated in deg cover 3.142, so they are taken as rad"),
    "object wider than the detector": ({"narrow": True}, "the object reaches over the detector in 100% of the rows"),
    "lengths in the wrong unit": ({"pixel": 0.05}, "per mm, water has 0.02; lengths look about"),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_is_guessed_or_doubtful_is_told_in_the_plan(cli: Cli, tmp_path: Path, case: str) -> None:
    changed, said = TOLD[case]
    path = exchange(tmp_path / "scan.h5", **changed)  # type: ignore[arg-type]
    plan = [*RECIPE, "preprocess.truncation=tell", "scan.water_per_mm=0.02", "--dry-run"]
    done = cli("reconstruct", path, tmp_path / "out.nii.gz", *plan)
    assert done.code == 0, done.err
    assert said in " ".join(done.out.split())
