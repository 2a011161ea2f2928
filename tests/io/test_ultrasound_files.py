"""zea and UFF files: a point is imaged where it is, from every kind of transmit; faults are told in one sentence."""

import h5py
import numpy as np
import pytest

from recon3d.beams import grid_through, image_grid, points_mm, scan_converted
from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid
from recon3d.io import load
from recon3d.methods import reconstruct
from recon3d.problem import problem_for

from .ultrasound_files import CENTRE, LAG_S, RATE, TARGET_MM, write_uff, write_zea

KINDS = ("plane", "diverging", "focused", "element")


def imaged(scan):
    grid = image_grid((0.5, 3.5), (17.0, 19.0), (0.02, 0.05))
    image = reconstruct(problem_for(scan.on(grid)), "das", image="envelope").volume.data
    return points_mm(grid)[image.argmax()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["legacy", "tracks", "iq", "uff", "uff-iq"])
def test_a_point_is_imaged_where_it_is(tmp_path, layout, kind):
    if layout.startswith("uff"):
        scan = load(write_uff(tmp_path / "a.uff", [kind], iq=layout == "uff-iq"))
    else:
        scan = load(write_zea(tmp_path / "a.hdf5", [kind], tracks=layout == "tracks", iq=layout == "iq"))
        assert scan.acquisition["pulse_delay_s"] == pytest.approx(LAG_S, abs=1e-9)
    assert scan.kind == "ultrasound"
    assert scan.axes == ("transmit", "element", "sample")
    assert "assumed" not in scan.acquisition
    x, _, z = imaged(scan)
    assert z == pytest.approx(TARGET_MM[2], abs=0.031)  # a tenth of a wavelength
    assert x == pytest.approx(TARGET_MM[0], abs=0.11)


@pytest.mark.parametrize("write", [write_zea, write_uff])
def test_transmits_of_all_kinds_add_up(tmp_path, write):
    scan = load(write(tmp_path / "a.h5", KINDS))
    x, _, z = imaged(scan)
    assert (x, z) == (pytest.approx(2.0, abs=0.06), pytest.approx(18.0, abs=0.031))
    together = reconstruct(problem_for(scan.on(image_grid((2, 2.1), (18, 18.1), (1, 1)))), "das", image="iq")
    apart = [abs(value) for value in _alone(scan)]
    assert abs(together.volume.data[0, 0, 0]) > 0.9 * np.mean(apart)  # in phase


def _alone(scan):
    from dataclasses import replace

    names = ("focus_mm", "polar_rad", "azimuth_rad", "origins_mm", "widths_mm", "first_sample_s", "pulse_delay_s")
    for k in range(4):
        one = {n: scan.acquisition[n][[k]] for n in names if n in scan.acquisition}
        single = replace(scan, data=scan.data[[k]], acquisition=scan.acquisition | one)
        grid = image_grid((2, 2.1), (18, 18.1), (1, 1))
        yield reconstruct(problem_for(single.on(grid)), "das", image="iq").volume.data[0, 0, 0]


def test_frames_have_times_and_legacy_planes_a_focus_of_0(tmp_path):
    path = write_zea(
        tmp_path / "a.hdf5", ["plane"], frames=3, focus_distances=[0.0], time_to_next_transmit=np.full((3, 1), 2e-3)
    )
    scan = load(path)
    assert scan.axes[0] == "t"
    assert scan.acquisition["times_s"].tolist() == pytest.approx([0.0, 2e-3, 4e-3])
    assert np.isinf(scan.acquisition["focus_mm"]).all()
    assert "plane waves" in scan.acquisition["assumed"]


def test_foci_in_wavelengths_and_a_missing_speed(tmp_path):
    path = write_zea(tmp_path / "a.hdf5", ["focused"], focus_distances=[25 / 0.308], drop=("sound_speed",))
    scan = load(path)
    assert scan.acquisition["focus_mm"][0] == pytest.approx(25.0)
    assert "1540" in scan.acquisition["assumed"]


def test_delays_that_do_not_fit_are_told(tmp_path):
    scan = load(write_zea(tmp_path / "a.hdf5", ["plane"], polar_angles=[-0.2]))
    assert "do not fit their focus and angles" in scan.acquisition["assumed"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drop": ("sampling_frequency",)}, r"lacks the sampling rate \(scan/sampling_frequency\)"),
        ({"probe_geometry": np.zeros((31, 3))}, "Probe and data .* disagree"),
        ({"t0_delays": np.zeros((2, 32))}, "Transmits and data .* disagree"),
        ({"initial_times": [-1.0]}, "before an echo"),
    ],
)
def test_faults_of_zea_files(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        load(write_zea(tmp_path / "a.hdf5", ["plane"], **changes))


def test_tracks_and_products_are_chosen_by_name(tmp_path):
    path = write_zea(tmp_path / "a.hdf5", ["plane"], tracks=True)
    assert load(path, track="bmode").acquisition["sampling_hz"] == RATE
    with pytest.raises(InputError, match=r"no track harmonic: it has 0 \(bmode\)"):
        load(path, track="harmonic")
    with pytest.raises(InputError, match="holds no image: it has raw_data"):
        load(path, product="image")
    with pytest.raises(InputError, match="has no tracks"):
        load(write_zea(tmp_path / "b.hdf5", ["plane"]), track=1)


def test_a_filter_that_is_not_there_is_named(tmp_path, monkeypatch):
    import sys

    path = write_zea(tmp_path / "a.hdf5", ["plane"], compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: False)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(InputError, match="pip install hdf5plugin"):
        load(path)


def beams(lines=9, depths=20):
    angle, radius = np.linspace(-0.4, 0.4, lines), 5.0 + 0.5 * np.arange(depths)
    return np.stack(
        [radius[:, None] * np.sin(angle), np.zeros((depths, lines)), radius[:, None] * np.cos(angle) - 3.0], axis=-1
    )


def test_images_of_zea_files_lie_where_their_coordinates_say(tmp_path):
    values = np.random.default_rng(0).uniform(-60, 0, (2, 20, 9)).astype(np.float32)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["tracks/track_0/data/image/values"] = values
        file["tracks/track_0/data/image/coordinates"] = 1e-3 * beams()
        file["tracks/track_0/data/beamformed_data/values"] = np.stack([values, values], axis=-1)
    volume = load(tmp_path / "a.hdf5", product="image")
    assert isinstance(volume.grid, BeamGrid)
    assert volume.units == "dB"
    assert volume.data[:, 0].swapaxes(1, 2) == pytest.approx(values)
    assert volume.grid.apex_mm == pytest.approx(3.0)
    assert isinstance(scan_converted(volume).grid, AffineGrid)
    iq = load(tmp_path / "a.hdf5")  # the first product: no coordinates
    assert np.iscomplexobj(iq.data)
    assert "pixels" in iq.tags["placed"]


def test_grids_of_places():
    plane = image_grid((-3.0, 3.0), (5.0, 9.0), (0.5, 0.25))
    places = points_mm(plane).reshape(9, 25, 3)
    grid, is_beams = grid_through(places)
    assert not is_beams
    assert points_mm(grid) == pytest.approx(points_mm(plane))
    bent = beams()
    bent[7, 3, 0] += 0.1
    for wrong in (bent, bent[::-1], np.zeros((2, 3))):
        with pytest.raises(InputError, match="places"):
            grid_through(wrong)


def test_images_of_uff_files(tmp_path):
    x, z = np.linspace(-5e-3, 5e-3, 6), np.linspace(1e-3, 9e-3, 5)
    pixels = np.arange(30.0)  # along the depth first
    with h5py.File(tmp_path / "a.uff", "w") as file:
        file.create_group("b_data").attrs["class"] = "uff.beamformed_data"
        file["b_data/data"] = pixels[None, None, None]
        file["b_data/scan/x_axis"], file["b_data/scan/z_axis"] = x[None], z[None]
    volume = load(tmp_path / "a.uff")
    assert volume.shape == (1, 5, 6)
    assert volume.data[0, :, 0].tolist() == [0, 1, 2, 3, 4]
    assert points_mm(volume.grid)[0] == pytest.approx([-5, 0, 1])
    with h5py.File(tmp_path / "a.uff", "a") as file:
        del file["b_data/scan/x_axis"], file["b_data/scan/z_axis"]
        file["b_data/scan/azimuth_axis"], file["b_data/scan/depth_axis"] = np.linspace(-0.4, 0.4, 6), z
    sector = load(tmp_path / "a.uff", location="b_data")
    assert isinstance(sector.grid, BeamGrid)
    assert sector.data[0, 0].tolist() == [0, 1, 2, 3, 4]


def test_faults_of_uff_files(tmp_path):
    path = write_uff(tmp_path / "a.uff", ["plane"], drop=("sampling_frequency",))
    with pytest.raises(InputError, match="lacks the sampling rate"):
        load(path)
    with pytest.raises(InputError, match="no object 'scan': it has channel_data"):
        load(path, location="scan")
    path = write_uff(tmp_path / "b.uff", ["plane"])
    with h5py.File(path, "a") as file:
        del file["channel_data/sequence/source"]
    with pytest.raises(InputError, match="lacks 'source'"):
        load(path)
    path = write_uff(tmp_path / "c.uff", ["plane"])
    with h5py.File(path, "a") as file:
        file["channel_data/sequence/wavefront"][...] = 2
    with pytest.raises(InputError, match="photoacoustic"):
        load(path)
    (tmp_path / "d.uff").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path / "d.uff")
    assert load(write_uff(tmp_path / "e.uff", ["plane"])).acquisition["centre_hz"] == CENTRE
