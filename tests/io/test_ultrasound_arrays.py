"""Array layouts of ultrasound: real files where they are at hand, and the parts of a mapping."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recon3d.acquisitions.ultrasound import transmits_of
from recon3d.beams import image_grid, points_mm
from recon3d.errors import InputError
from recon3d.io import load
from recon3d.io.ultrasound_arrays import from_pairs
from recon3d.methods import reconstruct
from recon3d.problem import problem_for

SAMPLES = Path(os.environ.get("RECON3D_SAMPLE_DATA", "")) / "ultrasound"
FIELD_II = SAMPLES / "pybf_fieldii_rf_dataset.hdf5"
PINS = SAMPLES / "ArraySteelPins.mat"


def subset(scan, k):
    """One transmit of a scan."""
    names = ("focus_mm", "polar_rad", "azimuth_rad", "origins_mm", "widths_mm", "first_sample_s")
    one = {name: scan.acquisition[name][[k]] for name in names}
    return replace(scan, data=scan.data[[k]], acquisition=scan.acquisition | one)


def brightest(scan, grid):
    image = reconstruct(problem_for(scan.on(grid)), "das", image="envelope").volume.data
    return points_mm(grid)[image.argmax()]


@pytest.mark.skipif(not FIELD_II.is_file(), reason="needs the sample data")
@pytest.mark.parametrize("transmit", range(3))
def test_field_ii_targets_lie_where_they_were_put_to_half_a_wavelength(transmit):
    import h5py

    with h5py.File(FIELD_II) as file:
        placed = 1e3 * file["sim_params/scatters_data"][()].T
    scan = subset(load(FIELD_II, mapping="pybf"), transmit)
    for depth in (22.176, 34.003, 45.831):
        target = placed[(np.abs(placed[:, 2] - depth) < 0.01)][0]
        found = brightest(scan, image_grid((-1.0, 1.0), (depth - 1.0, depth + 1.0), (0.04, 0.05)))
        assert np.linalg.norm(found - target) < 0.5 * 1540e3 / 5.2083e6


@pytest.mark.skipif(not FIELD_II.is_file(), reason="needs the sample data")
def test_the_pulse_of_field_ii_lags_by_what_its_authors_correct_for():
    import h5py

    scan = load(FIELD_II, mapping="pybf")
    with h5py.File(FIELD_II) as file:
        correction = float(file["data/correction_time_shift"][0, 0])
        start = float(file["sim_params/start_time"][0, 0])
    assert scan.acquisition["pulse_delay_s"] == pytest.approx(correction + start, abs=5e-9)
    assert scan.acquisition["pulse_delay_s"] * 770e3 > 5 * 0.148  # mm of depth, were it left out


@pytest.mark.skipif(not PINS.is_file(), reason="needs the sample data")
@pytest.mark.parametrize("pin", [(-9.5, 43.1), (10.6, 38.2)])
def test_steel_pins_lie_at_one_place_for_all_transmits_that_see_them(pin):
    """Of all elements that send at least half their strength there: to 0.1 mm in depth, a quarter of a wavelength."""
    scan = load(PINS, mapping="steel-pins")
    x, z = pin
    lobe = transmits_of(scan).weights(np.array([[x, 0.0, z]]), 1480e3 / 3.5e6)[:, 0]
    seen = np.flatnonzero(lobe > 0.5)
    assert len(seen) >= 15
    grid = image_grid((x - 1.5, x + 1.5), (z - 1.0, z + 1.0), (0.02, 0.1))
    found = np.array([brightest(subset(scan, k), grid) for k in seen[::3]])
    assert np.ptp(found[:, 2]) < 0.1
    assert np.ptp(found[:, 0]) < 0.2


def mapping(**changes):
    known = {
        "kind": "ultrasound", "data": "rf", "axes": ["transmit", "element", "sample"], "sampling": 20e6, "centre": 5e6,
        "sound_speed": 1540, "probe": {"pitch": 0.3}, "transmit": {"type": "plane", "angles": [-5, 5]},
    }  # fmt: skip
    return {key: value for key, value in (known | changes).items() if value is not None}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, rf=np.random.default_rng(0).normal(size=(2, 8, 300)), t=np.arange(300) / 20e6)
    return path


def test_parts_of_a_mapping(file):
    scan = load(file, mapping=mapping(sampling={"key": "t"}))
    assert scan.axes == ("transmit", "element", "sample")
    assert scan.acquisition["sampling_hz"] == pytest.approx(20e6)
    waves = load(file, mapping=mapping(transmit={"type": "diverging", "angles": 0, "focus": 5.0}))
    assert waves.acquisition["focus_mm"].tolist() == [-5.0, -5.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": None}, "sampling rate"),
        ({"transmit": {"type": "spiral"}}, "transmit.type"),
        ({"transmit": {"type": "focused"}}, "needs its focus"),
        ({"probe": {"rows": 3}}, "Unknown key in probe"),
        ({"probe": {}}, "pitch"),
        ({"first_sample": -1.0}, "before an echo"),
        ({"data": {"stack": "xx*"}}, "no key like"),
        ({"pairs": {"transmit": [1]}}, "last axis"),
    ],
)
def test_faults_of_a_mapping(file, changes, words):
    with pytest.raises(InputError, match=words):
        load(file, mapping=mapping(**changes))


def test_half_a_matrix_is_completed_by_reciprocity():
    data = np.array([[1.0, 2.0, 3.0]])  # pairs 00, 01, 11
    full = from_pairs(data, np.array([0, 0, 1]), np.array([0, 1, 1]), reciprocal=True)
    assert full[..., 0].tolist() == [[1.0, 2.0], [2.0, 3.0]]
    with pytest.raises(InputError, match="reciprocal"):
        from_pairs(data, np.array([0, 0, 1]), np.array([0, 1, 1]), reciprocal=False)
