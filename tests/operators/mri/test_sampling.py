"""Column masks bit for bit as the official package draws them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from operators.errors import ShapeError
from operators.mri.sampling import PATTERNS, Sampling, column_mask, describe_mask, seeded

NEEDS_FASTMRI = (
    "needs the package fastmri: `pip install --no-deps fastmri==0.3.0; pip install runstats pandas requests`"
)
KNEES = [f"file{1000000 + 37 * k}.h5" for k in range(100)]
NAMES = KNEES + [f"file_brain_AXT2_200_{2000000 + 61 * k}.h5" for k in range(100)]
WIDTHS = (320, 368, 372, 396)
PAIRS = ((0.08, 4), (0.04, 8))

OFFICIAL_SHA256 = {
    "random": "4d2273271e34e2817774e8072c01f672f79930e863c173b22fdb85c60689cadd",
    "equispaced": "26489c38478e0c4b500407d463d9a26f9c227b524d3c8976d8bc0548f05c9a17",
    "equispaced_fraction": "57b5e9b0dfe3c8a9a1dc194a29e8e0f3602dd0672a9eb7372e2ce37d92727965",
    "magic": "7ee9d0e786498e6db4f9b451e1f37364c800971a4bc8e26f5ea2c52dffda2b54",
    "magic_fraction": "a06c0a4a83c1ee8ca4af8ddee18e30799ec60f4636bd6b2c7b40a00c7909d879",
}
"""Of the packed bits of the official masks over all names, widths and pairs, in that order."""


def packed(masks: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.packbits(mask).tobytes() for mask in masks)).hexdigest()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_equal_to_the_official_package(pattern: str) -> None:
    subsample = pytest.importorskip("fastmri.data.subsample", reason=NEEDS_FASTMRI)
    official = {pair: subsample.create_mask_for_mask_type(pattern, [pair[0]], [pair[1]]) for pair in PAIRS}
    masks = []
    for name in NAMES:
        for n in WIDTHS:
            for fraction, acceleration in PAIRS:
                drawn, _ = official[fraction, acceleration]((1, 1, n, 2), None, tuple(map(ord, name)))
                masks.append(drawn.numpy().ravel() > 0)
                assert np.array_equal(column_mask(n, acceleration, fraction, pattern, name), masks[-1]), (name, n)
    assert packed(masks) == OFFICIAL_SHA256[pattern]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_bits_that_the_official_package_drew(pattern: str) -> None:
    masks = [column_mask(n, r, f, pattern, name) for name in NAMES for n in WIDTHS for f, r in PAIRS]
    assert packed(masks) == OFFICIAL_SHA256[pattern]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_of_several_pairs_is_drawn_first(pattern: str) -> None:
    """The official generator draws the index of a pair; of one generator the mask follows."""
    subsample = pytest.importorskip("fastmri.data.subsample", reason=NEEDS_FASTMRI)
    fractions, accelerations = zip(*PAIRS, strict=True)
    official = subsample.create_mask_for_mask_type(pattern, fractions, accelerations)
    for name in NAMES[::20]:
        drawn, _ = official((1, 1, 372, 2), None, tuple(map(ord, name)))
        generator = seeded(name)
        fraction, acceleration = PAIRS[generator.randint(len(PAIRS))]
        assert np.array_equal(column_mask(372, acceleration, fraction, pattern, generator), drawn.numpy().ravel() > 0)


@pytest.mark.parametrize(("n", "acceleration", "fraction"), [(372, 4, 0.0), (372, 4, 0.2), (33, 3, 0.1)])
def test_magic_fraction_off_the_standard_pairs(n: int, acceleration: int, fraction: float) -> None:
    subsample = pytest.importorskip("fastmri.data.subsample", reason=NEEDS_FASTMRI)
    official = subsample.create_mask_for_mask_type("magic_fraction", [fraction], [acceleration])
    drawn, _ = official((1, 1, n, 2), None, tuple(map(ord, "a.h5")))
    assert np.array_equal(column_mask(n, acceleration, fraction, "magic_fraction", "a.h5"), drawn.numpy().ravel() > 0)


@pytest.mark.parametrize("pattern", ["equispaced_fraction", "magic_fraction"])
@pytest.mark.parametrize("fraction", [0.25, 0.3])
def test_a_centre_that_takes_all_is_the_mask(pattern: str, fraction: float) -> None:
    """Where the official code divides by zero."""
    mask = column_mask(100, 4, fraction, pattern, "a.h5")
    lines = np.flatnonzero(mask)
    assert lines.size == (25 if pattern == "magic_fraction" else round(100 * fraction))
    assert np.array_equal(np.diff(lines), np.ones(lines.size - 1))


@pytest.mark.parametrize("n", [96, 160, 320, 372])
def test_masks_are_told_apart(n):
    for acceleration, fraction in ((4, 0.08), (8, 0.04)):
        for seed in range(6):
            for pattern in ("equispaced", "equispaced_fraction", "magic", "magic_fraction", "random"):
                columns = column_mask(n, acceleration, fraction, pattern, seed)
                found = describe_mask(np.broadcast_to(columns, (5, n)))
                assert found.pattern == ("random" if pattern == "random" else "equispaced"), (pattern, seed)
                assert found.acceleration == pytest.approx(n / columns.sum())
                assert round(n * fraction) / n <= found.centre < fraction + 6 / n


def test_full_sparse_and_two_dimensional_masks():
    assert describe_mask(np.ones((4, 6), bool)) == Sampling("full", 1.0, 1.0)
    points = np.zeros((16, 16), bool)
    points[::2, ::3] = points[5:11, 5:11] = True
    found = describe_mask(points)
    assert found.pattern == "2d"
    assert found.centre == 36 / 256
    partial = np.zeros((16, 16), bool)
    partial[4:, ::2] = True  # partial Fourier along the readout: the missing rows say nothing of the columns
    assert describe_mask(partial).acceleration == 2.0
    assert describe_mask(np.eye(3, dtype=bool)[[0, 0]]) == Sampling("random", 3.0, 0.0)
    with pytest.raises(ShapeError, match="without any sample"):
        describe_mask(np.zeros((2, 2), bool))
