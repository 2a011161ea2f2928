"""Series to volumes: place, values, axes, choice, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from recon3d.errors import ConfigError, InputError
from recon3d.io import dicom

MR = "1.2.840.10008.5.1.4.1.1.4"


def world(volume, z, y, x):
    return (volume.grid.matrix @ [x, y, z, 1])[:3]


def test_values_are_rescaled_and_voxels_lie_where_the_header_says(series, image):
    volume = dicom.read(series(images=[image(z) for z in (2, 0, 3, 1)]))
    assert volume.units == "HU"
    assert volume.data.dtype == np.float32
    z, y, x = np.mgrid[:4, :5, :7]
    assert np.array_equal(volume.data, 100 * z + 10 * y + x - 1024)
    # LPS (-10, -20, 30) plus 3 columns of 0.75 mm, 2 rows of 0.5 mm and one slice of 2.5 mm, in RAS
    assert world(volume, 1, 2, 3) == pytest.approx([10 - 3 * 0.75, 20 - 2 * 0.5, 32.5])
    assert dict(volume.tags) == {"modality": "CT", "format": "DICOM"}


@pytest.mark.parametrize("angles", [(0, 0, 90), (90, 0, 0), (0, 90, 0), (12, -33, 71), (180, 0, 0)])
def test_oblique_decubitus_and_feet_first_slices_keep_their_place(series, image, angles):
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    slices = []
    for z in range(4):
        position = turn @ [-10.0, -20.0, 30.0 + 2.5 * z]
        cosines = [*turn[:, 0], *turn[:, 1]]
        slices.append(
            image(
                z,
                ImagePositionPatient=[f"{v:.10g}" for v in position],
                ImageOrientationPatient=[f"{v:.10g}" for v in cosines],
                PatientPosition="FFDR",
            )
        )
    volume = dicom.read(series(images=slices))
    for voxel in ((0, 0, 0), (3, 4, 6), (1, 2, 5)):
        z, y, x = voxel
        assert volume.data[voxel] == 100 * z + 10 * y + x - 1024
        lps = turn @ [-10 + 0.75 * x, -20 + 0.5 * y, 30 + 2.5 * z]
        assert world(volume, *voxel) == pytest.approx(lps * [-1, -1, 1], abs=1e-6)


def test_each_slice_has_its_own_rescale(series, image):
    slices = [image(z, sop_class=MR, RescaleSlope=str(z + 0.5), RescaleIntercept=str(-z)) for z in range(3)]
    volume = dicom.read(series(images=slices))
    assert volume.units == "1"
    assert volume.data[2, 1, 3] == (200 + 10 + 3) * 2.5 - 2


def test_bits_above_the_value_do_not_count(series, image):
    values = np.arange(35, dtype="<u2") | 0xF000  # an old overlay in the unused bits
    ds = image(0, BitsStored=12, HighBit=11, PixelRepresentation=0, RescaleIntercept=0, PixelData=values.tobytes())
    assert np.array_equal(dicom.read(series(images=[ds])).data.ravel(), np.arange(35))


def test_several_series_are_listed_and_chosen(series, image):
    slices = [image(z) for z in range(3)] + [image(z, SeriesInstanceUID="1.9", SeriesNumber=8) for z in range(2)]
    slices.append(image(5, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    folder = series(images=slices)
    labels = {s.label: s.plane for s in dicom.list_series(folder)}
    assert labels == {"3a": "axial", "3b": "sagittal", "8": "axial"}
    with pytest.raises(InputError, match=r"3 series, choose one .*3a: CT axial, 3 x 5 x 7; 3b: CT sagittal"):
        dicom.read(folder)
    assert dicom.read(folder, series="3a").shape == (3, 5, 7)
    assert dicom.read(folder, series=8).shape == dicom.read(folder, series="1.9").shape == (2, 5, 7)
    with pytest.raises(InputError, match="choose one of 3a, 3b, 8"):
        dicom.read(folder, series="nonsense")


def moved(image, offsets):
    return [image(i, ImagePositionPatient=[-10, -20, z]) for i, z in enumerate(offsets)]


def test_a_missing_slice_is_refused_or_filled(series, image):
    folder = series(images=moved(image, [0, 2, 4, 8, 10]))
    with pytest.raises(InputError, match=r"1 missing slice: .* 2 mm apart and once 4 mm"):
        dicom.read(folder)
    volume = dicom.read(folder, resample_irregular=True)
    assert volume.shape == (6, 5, 7)
    assert volume.tags["resampled"] == "irregular"
    assert volume.data[3] == pytest.approx((volume.data[2] + volume.data[4]) / 2)
    assert world(volume, 5, 0, 0) == pytest.approx([10, 20, 10])


def test_a_missing_slice_may_stay_open(series, image):
    volume = dicom.read(series(images=moved(image, [0, 2, 4, 8, 10])), gaps="nan")
    assert volume.shape == (6, 5, 7)
    assert np.isnan(volume.data[3]).all()
    assert np.isfinite(volume.data[[0, 1, 2, 4, 5]]).all()
    assert world(volume, 4, 0, 0) == pytest.approx([10, 20, 8])
    assert np.isfinite(dicom.read(series("even", images=moved(image, [0, 2, 4])), gaps="nan").data).all()
    with pytest.raises(InputError, match="irregularly spaced"):
        dicom.read(series("uneven", images=moved(image, [0, 2, 4.5, 5.5, 8])), gaps="nan")
    with pytest.raises(ConfigError, match="'refuse' or 'nan', got 'zero'"):
        dicom.read(series("again", images=moved(image, [0, 2])), gaps="zero")


def test_uneven_slices_are_refused_or_evened(series, image):
    folder = series(images=moved(image, [0, 2, 4.5, 5.5, 8]))
    with pytest.raises(InputError, match=r"irregularly spaced, 1 to 2\.5 mm"):
        dicom.read(folder)
    volume = dicom.read(folder, resample_irregular=True)
    heights = [world(volume, z, 0, 0)[2] for z in range(volume.shape[0])]
    wanted = np.interp(heights, [0, 2, 4.5, 5.5, 8], np.arange(5) * 100) - 1024
    assert volume.data[:, 0, 0] == pytest.approx(wanted, abs=1e-3)


def test_duplicate_positions_are_refused(series, image):
    with pytest.raises(InputError, match="5 images share 4 positions"):
        dicom.read(series(images=moved(image, [0, 2, 2, 4, 6])), resample_irregular=True)
    with pytest.raises(InputError, match="all 3 images lie at one position: not a volume"):
        dicom.read(series("same", images=moved(image, [5, 5, 5])))


def tilted(image, shift_mm):
    """A bright line along the true z axis, in slices that lean by `shift_mm` rows per slice."""
    slices = []
    for z in range(5):
        pixels = np.zeros((9, 7), "<i2")
        pixels[4 - z, 3] = 1000  # one row of 0.5 mm up for each 0.5 mm that the slice has moved down
        place = [-10, -20 + shift_mm * z, 2.0 * z]
        slices.append(image(z, rows=9, ImagePositionPatient=place, PixelData=pixels.tobytes()))
    return slices


def test_gantry_tilt_is_refused_kept_or_corrected(series, image):
    folder = series(images=tilted(image, 0.5))
    with pytest.raises(InputError, match=r"lean 14.0 degrees .*gantry tilt"):
        dicom.read(folder)
    kept = dicom.read(folder, tilt="keep")
    assert kept.grid.is_sheared
    assert world(kept, 4, 0, 3) - world(kept, 0, 0, 3) == pytest.approx([0, -2.0, 8.0])
    upright = dicom.read(folder, tilt="correct")
    assert not upright.grid.is_sheared
    assert upright.tags["resampled"] == "tilt"
    for volume in (kept, upright):  # the line stands at one place of the world in both
        z, y, x = np.argwhere(volume.data > -500).T
        places = np.array([world(volume, *v) for v in zip(z, y, x, strict=True)])
        assert len(places) == 5
        assert places[:, :2] == pytest.approx(np.tile([10 - 3 * 0.75, 20 - 4 * 0.5], (5, 1)))
    with pytest.raises(ConfigError, match="tilt must be"):
        dicom.read(folder, tilt="fix")


def test_times_become_an_axis(series, image):
    slices = [
        image(z, InstanceNumber=10 * t + z, AcquisitionTime=f"1200{5 * t:02d}.5", PixelData=bytes([t, 0] * 35))
        for t in (1, 0, 2)
        for z in range(3)
    ]
    volume = dicom.read(series(images=slices))
    assert volume.shape == (3, 3, 5, 7)
    assert volume.times_s == (0, 5, 10)
    assert volume.data[:, 0, 0, 0].tolist() == [-1024, -1023, -1022]


def test_slices_that_are_visited_one_after_another_are_frames(series, image):
    slices = [image(z, AcquisitionTime=f"1200{10 * t + z:02d}") for t in range(2) for z in range(3)]
    volume = dicom.read(series(images=slices))
    assert volume.shape == (2, 3, 5, 7)
    assert volume.times_s == (0, 10)


def test_b_values_become_an_axis(series, image):
    slices = [image(z, sop_class=MR, DiffusionBValue=b) for b in (1000.0, 0.0, 500.0) for z in range(3)]
    volume = dicom.read(series(images=slices))
    assert volume.shape == (3, 3, 5, 7)
    assert volume.times_s is None
    assert volume.tags["b_values_s_per_mm2"] == (0, 500, 1000)


def test_echoes_are_listed_apart(series, image):
    slices = [image(z, sop_class=MR, EchoTime=te) for te in (5, 20) for z in range(3)]
    folder = series(images=slices)
    assert [s.label for s in dicom.list_series(folder)] == ["3a", "3b"]


def cine(image, **changes):
    ds = image(0, sop_class="1.2.840.10008.5.1.4.1.1.3.1", **changes)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        delattr(ds, keyword)
    ds.Modality, ds.NumberOfFrames, ds.FrameTime = "US", 3, 40
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.05
    ds.SequenceOfUltrasoundRegions = [region]
    return ds


def test_an_ultrasound_cine_is_a_series_of_one_plane_in_grey(series, image):
    colours = np.zeros((3, 5, 7, 3), np.uint8)
    colours[1] = 90
    ds = cine(image, SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PlanarConfiguration, ds.PixelRepresentation, ds.PixelData = 0, 0, colours.tobytes() + b"\0"
    volume = dicom.read(series(images=[ds]))
    assert volume.shape == (3, 1, 5, 7)
    assert volume.times_s == pytest.approx((0, 0.04, 0.08))
    assert volume.voxel_mm[1:] == pytest.approx((0.5, 0.2))
    assert volume.data.mean(axis=(1, 2, 3)) == pytest.approx([0, 90, 0])
    assert volume.tags["placed"] is False


def test_a_secondary_capture_is_one_plane(series, image):
    ds = image(0, sop_class="1.2.840.10008.5.1.4.1.1.7", Modality="OT")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    volume = dicom.read(series(images=[ds]))
    assert volume.shape == (1, 5, 7)
    assert volume.tags["placed"] is False


def test_only_objects_without_images_are_named(series, image):
    ds = image(0, sop_class="1.2.840.10008.5.1.4.1.1.88.11")
    del ds.Rows, ds.Columns, ds.PixelData
    with pytest.raises(InputError, match="1 Basic Text SR Storage"):
        dicom.read(series(images=[ds]))


def test_the_patient_reaches_no_tag_and_no_listing(series):
    folder = series()
    volume = dicom.read(folder)
    told = repr(volume) + str(dict(volume.tags)) + "".join(repr(s) + str(s) for s in dicom.list_series(folder))
    assert "Doe" not in told
    assert "SECRET" not in told
    assert "1.2.3.4" not in told
