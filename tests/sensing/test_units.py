"""Units of data: indices, sums and masks agree with each other, whatever axes count them."""

from __future__ import annotations

import pytest
import torch

from operators.linear import Identity
from operators.mri import CartesianEncoding
from operators.space import Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from recon3d.errors import ConfigError
from recon3d.sensing.units import Unit, Units, distances, measured_by

SPACE = Space(("coil", "kz", "ky", "kx"), (2, 3, 4, 5), torch.complex64)
CASES = [
    Units(SPACE, ("kx",)),
    Units(SPACE, ("kx",), "kz"),
    Units(SPACE, ("ky", "kx")),
    Units(SPACE, ("ky", "kx"), "kz"),
]


@pytest.mark.parametrize("units", CASES, ids=lambda u: f"{u.axes}-{u.slice_axis}")
def test_masks_sums_and_indices_agree(units: Units) -> None:
    values = torch.rand(7, *SPACE.shape, generator=torch.Generator().manual_seed(1))
    sums = units.sum(values)
    assert sums.shape == (7, units.slices, units.count)
    for s in range(units.slices):
        for index in (0, units.count - 2):
            unit = Unit(index, s if units.slice_axis else None)
            part = torch.stack([v[units.where(unit)] for v in values])
            assert part.shape[1:] == units.data_shape(unit)
            torch.testing.assert_close(sums[:, s, index], part.double().flatten(1).sum(1))
            taken = torch.zeros(units.slices, units.count, dtype=torch.bool)
            taken[s, index] = True
            masked = values[0] * units.mask(taken)
            torch.testing.assert_close(masked.double().sum(), part[0].double().sum())
    torch.testing.assert_close(sums.sum((1, 2)), values.double().flatten(1).sum(1))


def test_the_centre_is_zero_frequency() -> None:
    assert CASES[0].centre(1) == [2]
    assert CASES[0].centre(3) == [1, 2, 3]
    assert CASES[2].centre(1) == [2 * 5 + 2]
    assert CASES[0].even(2) == [0, 2]
    assert distances(CASES[2], Unit(0), [6, 3]).tolist() == pytest.approx([2**0.5, 3.0])


@pytest.mark.parametrize("units", CASES[:3], ids=lambda u: f"{u.axes}-{u.slice_axis}")
def test_a_measured_encoding_is_a_mask_of_the_whole(units: Units) -> None:
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.complex64)
    A = CartesianEncoding(maps)
    taken = torch.rand(units.slices, units.count, generator=generator) > 0.5
    x = torch.randn(3, 4, 5, generator=generator, dtype=torch.complex64)
    part = measured_by(A, units, taken)
    torch.testing.assert_close(part(x), A(x) * units.mask(taken))
    torch.testing.assert_close(part.gram(x), A.H(A(x) * units.mask(taken)))


def test_units_by_the_name_of_their_kind() -> None:
    A = CartesianEncoding(torch.ones(2, 3, 4, 5, dtype=torch.complex64))
    assert Units.of(A, "lines").count == 5
    assert Units.of(A, "points", shared=False).slice_axis == "kz"
    grid = ImageGrid((1, 8, 8), (1.0, 1.0, 1.0))
    projector = Projector(TomographyGeometry.parallel(torch.linspace(0, 3, 6).numpy(), 1, 12), grid)
    assert Units.of(projector, "views").count == 6
    with pytest.raises(ConfigError, match="have no lines: choose"):
        Units.of(projector, "lines")
    image = Space(("z", "y", "x"), (1, 4, 6))
    assert Units.of(Identity(image), "pixels").count == 24
    assert Units.of(Identity(image), "scan_lines").count == 6
    with pytest.raises(ConfigError, match="is one of lines"):
        Units.of(A, "rows")
    with pytest.raises(ConfigError, match="counted from 0 to 4"):
        CASES[0].where(Unit(5))
