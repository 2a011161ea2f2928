"""Counts to line integrals, by numbers that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.preprocessing.counts import air_field, air_monitor, line_integrals


def test_flat_and_dark_frames_are_averaged() -> None:
    counts = np.full((2, 1, 3), 10 + 100 * np.exp(-1.5))
    flat = np.stack([np.full((1, 3), 100.0), np.full((1, 3), 120.0)])  # mean 110
    data, notes = line_integrals(counts, flat, 10.0)
    np.testing.assert_allclose(data, 1.5, rtol=1e-6)
    assert data.dtype == np.float32
    assert notes == []


def test_the_monitor_divides_the_beam_out() -> None:
    monitor = np.array([1.0, 2.0, 4.0])
    counts = 50.0 * monitor[:, None, None] * np.ones((3, 2, 4))
    data, _ = line_integrals(counts, 100.0, monitor=monitor, flat_monitor=1.0)
    np.testing.assert_allclose(data, np.log(2), rtol=1e-6)


def test_dead_pixels_become_a_line_between_their_neighbours() -> None:
    truth = np.broadcast_to(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), (3, 2, 5))
    counts = 1000 * np.exp(-truth)
    flat = np.full((2, 5), 1000.0)
    flat[1, 2] = 0.0
    data, notes = line_integrals(counts, flat)
    np.testing.assert_allclose(data, truth, atol=1e-5)
    assert notes == ["dead pixels: 1 of 10 filled from their neighbours in the row"]


def test_single_zeros_are_filled_and_opaque_objects_are_not() -> None:
    counts = np.full((4, 1, 20), 100.0)
    counts[1, 0, 3] = 0
    counts[2, 0, 5:15] = 0
    data, notes = line_integrals(counts, 100.0)
    assert data[1, 0, 3] == 0
    np.testing.assert_allclose(data[2, 0, 5:15], np.log(200), rtol=1e-6)
    assert any("1 single" in note for note in notes)
    assert any("10 measurements" in note for note in notes)


def test_air_beside_the_object_is_the_flat_field() -> None:
    beam = np.array([1.0, 3.0, 2.0])
    shade = np.linspace(100, 200, 21)
    counts = beam[:, None, None] * shade * np.ones((3, 2, 21))
    counts[:, :, 8:13] *= np.exp(-0.7)
    monitor = air_monitor(counts, 3)
    data, _ = line_integrals(counts, air_field(counts, 3, monitor=monitor), monitor=monitor)
    np.testing.assert_allclose(data[:, :, 8:13], 0.7, atol=1e-5)
    np.testing.assert_allclose(data[:, :, :8], 0, atol=1e-5)


@pytest.mark.parametrize(
    ("counts", "flat", "dark", "said"),
    [
        (-np.ones((2, 2, 4)), 100.0, 0.0, "negative"),
        (np.ones((2, 2, 4)), 10.0, 100.0, "darker than its dark field"),
        (np.zeros((2, 2, 4)), 10.0, 0.0, "show no beam"),
        (np.ones((2, 2, 4)), np.ones((3, 3)), 0.0, "has shape"),
    ],
)
def test_bad_counts_are_told_in_one_sentence(counts: object, flat: object, dark: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        line_integrals(counts, flat, dark)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_monitor_that_stands_still_is_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        line_integrals(np.ones((2, 1, 4)), 2.0, monitor=np.array([1.0, 0.0]))
