"""Cases of a folder: every format, damaged files by name, pairs and folders once, results and strangers aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recon3d.batch.cases import Case, find_cases, left_aside
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.scan import Scan
from recon3d.volume import Volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data, grid = np.zeros((2, 3, 4), np.float32), AffineGrid.centred((3, 4, 4), 1.0)
    scan = Scan("ct", data, ("view", "row", "column"), {}, grid)
    (tmp_path / "b").mkdir()
    for name in ("a.h5", "b/a.h5"):
        save(scan, tmp_path / name)
    save(Volume(np.zeros((2, 3, 4), np.float32), AffineGrid.centred((2, 3, 4), 1.0)), tmp_path / "truth.nii.gz")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:700])
    (tmp_path / "empty.h5").touch()
    (tmp_path / "line.sgy").write_bytes(b"\0" * 4000)
    (tmp_path / "k.cfl").write_bytes(b"\0" * 8)
    (tmp_path / "k.hdr").write_text("# Dimensions\n1 1\n")
    (tmp_path / "notes.txt").write_text("no scan")
    (tmp_path / ".hidden.h5").touch()
    stack = tmp_path / "stack"
    stack.mkdir()
    (stack / "projections.yaml").write_text("")
    (stack / "p0.tif").touch()
    return tmp_path


def names(folder: Path, **options: object) -> list[str]:
    return [case.name for case in find_cases(folder, **options).cases]  # type: ignore[arg-type]


def test_what_is_a_case(folder: Path) -> None:
    assert names(folder) == ["a", "b/a", "cut", "empty", "line", "stack"]
    assert left_aside(find_cases(folder)) == "Left aside: 1 .cfl, 1 .nii.gz, 1 .txt."


def test_volumes_and_arrays_are_cases_where_the_recipe_takes_them(folder: Path) -> None:
    assert "truth" in names(folder, restores=True)
    assert "k" in names(folder, mapped=True)  # once, for the pair


def test_results_are_not_looked_into_and_names_stay_apart(folder: Path) -> None:
    assert "b/a" not in names(folder, skip=folder / "b")
    (folder / "a.sgy").write_bytes(b"\0" * 4000)
    assert names(folder)[:2] == ["a.h5", "a.sgy"]


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no scan")
    with pytest.raises(InputError, match=r"nothing to reconstruct in .* \(1 \.txt were left aside\)"):
        find_cases(tmp_path)


def test_a_result_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    assert Case("b/a", tmp_path).output(tmp_path, ".nii.gz") == tmp_path / "b/a/a.nii.gz"
