from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from recon3d.errors import ShapeError
from recon3d.grid import AffineGrid
from recon3d.report.animation import MOST_FRAMES, animated
from recon3d.volume import Volume


def series(frames: int, times_s: tuple[float, ...] | None = None) -> Volume:
    """A bright column that walks one voxel a frame, on the patient's left of a grid of 2 mm."""
    data = np.zeros((frames, 1, 16, 24), np.float32)
    for t in range(frames):
        data[t, 0, :, t % 24] = 1.0
    return Volume(data, AffineGrid.patient((1, 16, 24), 2.0), times_s=times_s)


def test_the_picture_moves_with_the_object_and_at_its_pace() -> None:
    picture = Image.open(io.BytesIO(animated(series(5, (0.0, 0.1, 0.2, 0.3, 0.4)), (0.0, 1.0))))
    assert (picture.format, picture.n_frames, picture.size) == ("GIF", 5, (96, 64))  # four pixels for a voxel
    assert picture.info["duration"] == 100
    assert picture.info["loop"] == 0
    columns = []
    for t in range(5):
        picture.seek(t)
        columns.append(int(np.asarray(picture.convert("L")).mean(0).argmax()) // 4)
    assert columns == [0, 1, 2, 3, 4]


def test_long_series_are_thinned_and_slow_ones_hurried() -> None:
    picture = Image.open(io.BytesIO(animated(series(250, tuple(60.0 * t for t in range(250))))))
    assert picture.n_frames <= MOST_FRAMES
    assert 40 <= picture.info["duration"] <= 500


def test_complex_series_show_their_magnitude_and_single_volumes_do_not_move() -> None:
    volume = series(3)
    turned = volume.with_data(volume.data * np.complex64(1j))
    assert animated(turned, (0.0, 1.0)) == animated(volume, (0.0, 1.0))
    with pytest.raises(ShapeError, match="Only a series"):
        animated(volume.with_data(volume.data[0]))
