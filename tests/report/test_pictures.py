"""Pictures stand the right way up, in proportion, and say what they show."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from matplotlib.image import imread

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.metrics import compare
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.report.pictures import _panels, comparison, default_window, three_planes
from recon3d.volume import Volume

SHAPE = (9, 11, 13)
GRID = AffineGrid.centred(SHAPE, (3.0, 2.0, 1.0))


def pixels(png):
    return imread(io.BytesIO(png), format="png")


def reoriented(volume, order, flips):
    """The same patient stored in another axis order, (z, y, x) -> order, some axes backwards."""
    data = np.transpose(volume.data, order)
    matrix = volume.grid.matrix
    columns = matrix[:, [2 - order[2 - k] for k in range(3)] + [3]]
    for axis in range(3):
        if flips[axis]:
            data = np.flip(data, axis)
            columns[:, 3] += (data.shape[axis] - 1) * columns[:, 2 - axis]
            columns[:, 2 - axis] *= -1
    return Volume(data, AffineGrid(data.shape, tuple(map(tuple, columns))), volume.units)


def test_panels_follow_the_radiological_convention():
    ramps = np.stack(np.indices(SHAPE))[::-1].astype(float)  # grows to the patient's left-to-right, front, head
    for ramp, (along_columns, along_rows) in zip(
        ramps, ((("axial", "coronal"), ()), (("sagittal",), ("axial",)), ((), ("coronal", "sagittal"))), strict=True
    ):
        for panel in _panels(Volume(ramp, GRID)):
            rows, columns = (np.sign(np.diff(panel.image, axis=k)).mean() for k in (0, 1))
            assert columns == (-1 if panel.plane in along_columns else 0)  # right, front: on the left
            assert rows == (-1 if panel.plane in along_rows else 0)  # front, head: at the top


def test_panels_keep_proportions_and_letters():
    axial, coronal, sagittal = _panels(Volume(np.zeros(SHAPE), GRID))
    assert (axial.width, axial.height, axial.letters) == (13.0, 22.0, ("R", "L", "A", "P"))
    assert (coronal.width, coronal.height, coronal.letters) == (13.0, 27.0, ("R", "L", "S", "I"))
    assert (sagittal.width, sagittal.height, sagittal.letters) == (22.0, 27.0, ("A", "P", "S", "I"))


def test_the_order_of_storage_does_not_change_the_picture():
    volume = Volume(np.random.default_rng(0).random(SHAPE), GRID)
    expected = _panels(volume)
    for order, flips in itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)):
        for panel, wanted in zip(_panels(reoriented(volume, order, flips)), expected, strict=True):
            assert np.array_equal(panel.image, wanted.image)
            assert (panel.width, panel.height, panel.where) == (wanted.width, wanted.height, wanted.where)
    turned = reoriented(volume, (2, 0, 1), (True, False, True))
    assert three_planes(turned, title="one patient") == three_planes(volume, title="one patient")


def test_comparison_shows_rows_and_differences():
    reference = Volume(np.random.default_rng(0).random(SHAPE), GRID)
    close = reference.with_data(reference.data + 0.01)
    metrics = {"close": compare(close, reference)}
    alone = pixels(comparison({"close": close}))
    beside = pixels(comparison({"close": close}, reference, metrics, title="methods"))
    assert beside.shape[1] > alone.shape[1]
    assert beside.shape[0] > alone.shape[0]
    colour = np.ptp(beside[..., :3], axis=2) > 0.3
    assert not (np.ptp(alone[..., :3], axis=2) > 0.3)[:, alone.shape[1] // 2 :].sum() > 0.02 * alone.size
    worse = reference.with_data(reference.data + 0.2)
    strong = pixels(comparison({"close": worse}, reference, metrics, title="methods"))
    assert (np.ptp(strong[..., :3], axis=2) > 0.3).sum() > 2 * colour.sum()
    with pytest.raises(ShapeError, match="on one grid"):
        comparison({"thin": Volume(reference.data[:4], GRID.slab(0, 4))}, reference)
    with pytest.raises(InputError, match="in one unit"):
        comparison({"hu": Volume(reference.data, GRID, "HU")}, reference)
    with pytest.raises(InputError, match="at least one"):
        comparison({})


def test_windows():
    data = np.random.default_rng(0).random(SHAPE)
    assert default_window(Volume(data, GRID, "HU")) == (-350.0, 450.0)
    low, high = default_window(Volume(data * np.exp(1j), GRID))
    assert low == 0.0
    assert 0.9 < high <= 1.0
    low, high = default_window(Volume(data - 0.5, GRID))
    assert low == -high
    assert default_window(Volume(np.zeros(SHAPE), GRID)) == (0.0, 1.0)
    with pytest.raises(InputError, match="black < white"):
        three_planes(Volume(data, GRID), window=(1.0, 0.0))


@pytest.mark.parametrize(
    "volume",
    [
        Volume(np.ones((1, 30, 20)), AffineGrid.centred((1, 30, 20), 0.5)),
        Volume(np.ones((1, 1, 20)), AffineGrid.centred((1, 1, 20), 0.5)),
        Volume(np.ones((2, *SHAPE), complex), GRID, times_s=(0.0, 1.0)),
        Volume(np.full(SHAPE, np.nan), GRID),
        Volume(np.ones(SHAPE), SurveyGrid(SHAPE, (1, 1), (1, 1), (0, 0), (25, 0), (0, 25), 0, 0.004)),
    ],
    ids=["slice", "line", "complex series", "nan", "survey"],
)
def test_awkward_volumes_still_make_a_picture(volume):
    for png in (three_planes(volume), comparison({"a": volume}, volume)):
        assert min(pixels(png).shape[:2]) > 100
