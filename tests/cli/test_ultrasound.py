"""Ultrasound from file to file: hazy RF becomes RF with a B-mode, the haze and the spread beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import recon3d
from recon3d.synthetic.ultrasound_scoring import hazy_frames


def test_rf_in_and_out(cli: Callable[..., Any], here: Path) -> None:
    frames = hazy_frames(4, beams=32, samples=160)
    recon3d.save(recon3d.Volume(frames.measured(0.4).astype(np.float32), frames.grid), "rf.h5")
    short = ("method.samples=2", "method.steps=6")
    answer = cli("reconstruct", "rf.h5", "out.h5", "--config", "ultrasound-dehaze", *short)
    assert answer.code == 0, answer.err
    volumes = {name: recon3d.load(f"out{name}.h5") for name in ("", ".haze", ".b-mode", ".uncertainty")}
    assert {volume.shape for volume in volumes.values()} == {(1, 32, 160)}
    assert volumes[".b-mode"].units == "dB"
    hazy = recon3d.load("rf.h5").data
    assert np.abs(volumes[""].data + volumes[".haze"].data - hazy).max() < 0.1 * np.abs(hazy).max()
    assert "haze" in Path("out.html").read_text(encoding="utf-8")
