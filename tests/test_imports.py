"""Importing is cheap, and what is public was decided."""

from __future__ import annotations

import subprocess
import sys

import pytest

import recon3d

HEAVY = ("torch", "numba", "matplotlib", "scipy", "h5py", "nibabel", "pydicom", "astra", "skimage", "monai")


@pytest.mark.parametrize(
    "command",
    [
        "import recon3d, recon3d.errors",
        "import operators.errors",
        "import recon3d.cli; assert recon3d.cli.main(['--help']) == 0",
        "import recon3d.cli; assert recon3d.cli.main(['reconstruct', '--help']) == 0",
    ],
)
def test_importing_loads_nothing_heavy(command: str) -> None:
    code = f"{command}\nimport sys\nprint('loaded', sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_public_names_are_those_that_were_decided() -> None:
    assert sorted(recon3d.__all__) == [
        "Problem", "Scan", "Volume", "load", "problem_for", "reconstruct", "save", "simulate",
    ]  # fmt: skip
    for name in recon3d.__all__:
        assert callable(getattr(recon3d, name)), name
        assert name in dir(recon3d)
    with pytest.raises(AttributeError, match="no attribute 'tensor'"):
        _ = recon3d.tensor
