"""Ultrasound from the command line: a scan to a picture, and what is said of bad ones, each in one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

MAPPING = {
    "kind": "ultrasound", "data": "rf", "axes": ["transmit", "element", "sample"], "sampling": 20e6, "centre": 5e6,
    "sound_speed": 1540, "probe": {"pitch": 0.3}, "transmit": {"type": "plane", "angles": 0},
}  # fmt: skip


@pytest.fixture
def scanned(tmp_path, cli):
    """Reconstruct an echo from (0, 0, 12) mm by a mapping with changes; what the command said."""

    def call(rf=None, output="out.h5", **changes):
        x = 0.3 * (np.arange(16) - 7.5)
        late = (12 + np.hypot(x, 12))[:, None] / 1540e3
        t = np.arange(400) / 20e6 - late
        made = np.exp(-((t / 2e-7) ** 2)) * np.cos(2 * np.pi * 5e6 * t)
        np.savez(tmp_path / "a.npz", rf=(made if rf is None else rf(made))[None])
        mapping = {name: value for name, value in (MAPPING | changes).items() if value is not None}
        (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping))
        grid = ("grid.voxel_mm=0.2", f"source={tmp_path / 'map.yaml'}")
        return cli("reconstruct", tmp_path / "a.npz", tmp_path / output, "--config", "ultrasound-das", *grid)

    return call


def test_a_scan_becomes_a_picture(scanned, tmp_path, cli):
    assert scanned().code == 0
    record = json.loads((tmp_path / "out.recon.json").read_text())
    assert record
    answer = cli("inspect", tmp_path / "a.npz", "--source", tmp_path / "map.yaml")
    assert "16 elements, linear, pitch 0.3 mm" in answer.out
    assert "1 plane, 0 deg" in answer.out
    assert "4 a period of 5 MHz" in answer.out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": None}, "needs sampling (the sampling rate in Hz)"),
        ({"sound_speed": 1e-9}, "which no medium has"),
        ({"probe": {"pitch": 0.3, "elements": 15}}, "the probe has 15 elements, the data have 16"),
        ({"rf": lambda made: made * np.nan}, "NaN or infinite measurements"),
    ],
)
def test_what_cannot_be_imaged_is_told_in_one_sentence(scanned, tmp_path, changes, words):
    answer = scanned(**changes)
    assert answer.code == 2
    assert words in answer.sentence
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sound_speed": 1.54}, "looks like km/s or mm/us, so 1540 m/s is used"),
        ({"rf": lambda made: np.clip(made, -0.3, 0.3)}, "clipped: "),
    ],
)
def test_what_is_doubtful_is_imaged_and_told(scanned, changes, words):
    answer = scanned(**changes)
    assert answer.code == 0, answer.err
    assert words in answer.out + answer.err
