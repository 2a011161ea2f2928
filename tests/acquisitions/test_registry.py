"""Kinds of scans are found by name: built in, registered, or brought by a plug-in."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from recon3d import acquisitions
from recon3d.errors import InputError


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisitions, "_REGISTRY", {})


@pytest.mark.parametrize("kind", ["ct", "mri"])
def test_built_in_kinds_are_modules_of_the_package(kind: str) -> None:
    assert acquisitions.acquisition_for(kind).__module__ == f"recon3d.acquisitions.{kind}"


def test_a_kind_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys; from recon3d.acquisitions import acquisition_for; "
        "before = 'recon3d.acquisitions.mri' in sys.modules; acquisition_for('mri'); "
        "print(before, 'recon3d.acquisitions.mri' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_registered_kinds_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    acquisitions.register("ct", lambda scan, device, dtype: 1)  # type: ignore[arg-type, return-value]
    assert acquisitions.acquisition_for("ct")(None, None, None) == 1  # type: ignore[arg-type, comparison-overlap]


def test_plug_ins_add_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("pet", "operator:mul", "recon3d.acquisitions")
    monkeypatch.setattr(acquisitions, "entry_points", lambda group: [point] if group == point.group else [])
    assert acquisitions.acquisition_for("pet") is point.load()
    with pytest.raises(InputError, match="'spect' are not understood: expected one of beamformed, ct, image, mri, pet"):
        acquisitions.acquisition_for("spect")
