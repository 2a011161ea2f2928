"""What a map may claim, and how a calibration comes into the card of a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recon3d.errors import ModelError
from recon3d.priors import find_model, load_model, read_card
from recon3d.priors.calibration import Calibration, error_bar
from recon3d.priors.files import replace_card

FOUND = Calibration(method="dds", settings={"steps": 20}, samples=4, factor=5.5, found_on="drawn CT")


@pytest.mark.parametrize(
    ("method", "settings", "samples", "factor"),
    [
        ("dds", {"steps": 20, "eta": 0.85}, 4, 5.5),
        ("dds", {"steps": 20}, 9, 5.5),
        ("dds", {"steps": 20}, 3, 1.0),
        ("dds", {"steps": 50}, 4, 1.0),
        ("dds", {}, 4, 1.0),
        ("diffusion_mbir", {"steps": 20}, 4, 1.0),
    ],
)
def test_a_calibration_is_for_its_method_settings_and_samples(
    method: str, settings: dict, samples: int, factor: float
) -> None:
    found, told = error_bar((FOUND,), method, settings, samples)
    assert found == factor
    assert ("no error bar" in told) == (factor == 1.0)
    assert ("on drawn CT; not proven for other scans" in told) == (factor == 5.5)


def test_a_card_takes_a_calibration_and_the_weights_stay(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    shutil.copy(find_model("ct-axial"), path)
    card = read_card(path)
    replace_card(path, card.model_copy(update={"calibration": (FOUND,)}))
    again = read_card(path)
    assert again.calibration == (FOUND,)
    assert again.sha256 == card.sha256
    before, after = (load_model(p).network.state_dict() for p in ("ct-axial", path))
    assert all(bool((before[name] == after[name]).all()) for name in before)
    with pytest.raises(ModelError, match="belongs to other weights"):
        replace_card(path, card.model_copy(update={"sha256": "0" * 64}))
