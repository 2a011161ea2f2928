"""A small world of files for the command line, and a way to call it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from recon3d.cli import main
from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.volume import Volume


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on standard error; anything more fails."""
        lines = self.err.strip("\n").splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("recon3d: ")
        assert "Traceback" not in self.err
        return lines[0].removeprefix("recon3d: ")


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call the command line in this process."""

    def call(*arguments: object) -> Answer:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        said = capfd.readouterr()
        return Answer(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with truth.nii.gz and its scan.h5."""
    folder = tmp_path_factory.mktemp("made")
    data = np.full((5, 14, 14), -1000.0, np.float32)
    data[:, 2:12, 3:11] = np.random.default_rng(0).uniform(-100, 100, (5, 10, 8))
    data[2:4, 5:8, 5:8] = 800.0
    affine = ((-1.0, 0.0, 0.0, 31.0), (0.0, 1.0, 0.0, -7.0), (0.0, 0.0, 2.5, 100.0), (0.0, 0.0, 0.0, 1.0))
    save(Volume(data, AffineGrid((5, 14, 14), affine), units="HU"), folder / "truth.nii.gz")
    assert main(["simulate", str(folder / "truth.nii.gz"), str(folder / "scan.h5"), "geometry.views=12"]) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of that folder, as the working folder."""
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def left(here: Path) -> Callable[[], set[str]]:
    """Names of what a command left behind, temporary files included."""
    before = {p.name for p in here.rglob("*")}
    return lambda: {p.name for p in here.rglob("*")} - before
