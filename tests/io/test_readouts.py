import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.io.formats import format_for, load

h5py = pytest.importorskip("h5py")

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>8</x><y>6</y><z>1</z></matrixSize><fieldOfView_mm><x>16</x><y>12</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>4</x><y>6</y><z>1</z></matrixSize><fieldOfView_mm><x>8</x><y>12</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>5</maximum><center>3</center></kspace_encoding_step_1></encodingLimits>
<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""

COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
)
HEAD = np.dtype(
    [
        ("flags", "u8"), ("number_of_samples", "u2"), ("active_channels", "u2"), ("center_sample", "u2"),
        ("discard_pre", "u2"), ("discard_post", "u2"), ("encoding_space_ref", "u2"), ("position", "f4", 3),
        ("read_dir", "f4", 3), ("phase_dir", "f4", 3), ("slice_dir", "f4", 3), ("idx", [(n, "u2") for n in COUNTERS]),
    ]
)  # fmt: skip


def readout(values, flags=(), echo=None, **changes):
    """One row of a file: `values` is (coil, sample)."""
    head = np.zeros((), HEAD)
    head["flags"] = sum(1 << (bit - 1) for bit in flags)
    head["active_channels"], head["number_of_samples"] = values.shape
    head["center_sample"] = values.shape[1] // 2 if echo is None else echo
    for name, value in changes.items():
        if name in COUNTERS:
            head["idx"][name] = value
        else:
            head[name] = value
    return head, np.ascontiguousarray(values, np.complex64).view(np.float32).ravel()


def write(path, rows, header=HEADER):
    table = np.empty(len(rows), np.dtype([("head", HEAD), ("data", h5py.vlen_dtype(np.float32))]))
    for i, (head, data) in enumerate(rows):
        table["head"][i], table["data"][i] = head, data
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/xml", data=np.array([header.encode()], dtype=h5py.string_dtype()))
        file.create_dataset("dataset/data", data=table)
    return path


def kspace(coils=2, lines=6, columns=8, seed=0):
    rng = np.random.default_rng(seed)
    image = np.zeros((coils, lines, columns), complex)  # nothing outside the middle half of the readout
    image[..., 2:6] = rng.normal(size=(coils, lines, 4)) + 1j * rng.normal(size=(coils, lines, 4))
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    return image, k.astype(np.complex64)


def image_of(data):
    shifted = np.fft.ifftshift(data, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def test_lines_noise_reversal_repetition_and_asymmetric_echo(tmp_path):
    _image, k = kspace()
    rows = [readout(np.ones((2, 5)), flags=(19,))]
    for line in range(6):
        row = k[:, line]
        if line == 1:
            rows.append(readout(row[:, ::-1], flags=(22,), echo=3, kspace_encode_step_1=line))
        elif line == 2:
            rows += [readout(row * w, kspace_encode_step_1=line, average=a) for a, w in ((0, 0.5), (1, 1.5))]
        elif line == 4:
            rows.append(readout(row[:, 1:], echo=3, kspace_encode_step_1=line))  # its first sample was not measured
        else:
            rows.append(readout(row, kspace_encode_step_1=line))
    rows.append(readout(np.full((2, 8), 99), flags=(24,), kspace_encode_step_1=0))
    path = write(tmp_path / "scan.h5", rows)
    assert format_for(path)[0] == "ismrmrd"
    scan = load(path)
    assert scan.data.shape == (2, 1, 6, 4)
    assert scan.axes == ("coil", "kz", "ky", "kx")
    assert scan.grid.voxel_mm == pytest.approx((5.0, 2.0, 2.0))
    k[:, 4, 0] = 0
    expected = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image_of(k)[..., 2:6], axes=-1), norm="ortho"), axes=-1)
    expected = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(expected, axes=-2), axis=-2, norm="ortho"), axes=-2)
    np.testing.assert_allclose(scan.data[:, 0], expected, atol=1e-5)


def test_series_and_selection(tmp_path):
    _, k = kspace()
    rows = [
        readout(k[:, line] * (1 + r + 10 * c), kspace_encode_step_1=line, repetition=r, contrast=c)
        for r in range(2) for c in range(2) for line in range(6)
    ]  # fmt: skip
    path = write(tmp_path / "series.h5", rows)
    with pytest.raises(InputError, match=r"contrast \(2\), repetition \(2\)"):
        load(path)
    scan = load(path, select={"contrast": 1})
    assert scan.data.shape == (2, 2, 1, 6, 4)
    np.testing.assert_allclose(scan.data[1] * 11, scan.data[0] * 12, rtol=1e-4)
    with pytest.raises(InputError, match="no readout"):
        load(path, select={"contrast": 7})
    with pytest.raises(InputError, match="no counter 'echo'"):
        load(path, select={"echo": 7})


def test_prewhitening_and_calibration(tmp_path):
    _, k = kspace()
    noise = np.random.default_rng(1).normal(size=(2, 400, 2)).view(complex)[..., 0] * np.array([[3.0], [1.0]])
    rows = [readout(k[:, line], kspace_encode_step_1=line) for line in range(0, 6, 2)]
    calibration = [readout(k[:, line], flags=(20,), kspace_encode_step_1=line) for line in (2, 3)]
    plain = write(tmp_path / "plain.h5", rows)
    with pytest.raises(InputError, match="no noise scan"):
        load(plain, prewhiten=True)
    path = write(tmp_path / "noise.h5", [readout(noise, flags=(19,)), *rows, *calibration])
    scan, white = load(path), load(path, prewhiten=True)
    assert white.noise == {"std": 1.0}
    assert scan.noise == {}
    assert np.abs(white.data[0]).max() == pytest.approx(np.abs(scan.data[0]).max() / 3, rel=0.1)
    assert scan.acquisition["calibration"].shape == (2, 1, 2, 4)
    assert not scan.data[:, :, 1::2].any()


def test_affine_of_slices(tmp_path):
    _, k = kspace()
    place = {"read_dir": (1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}
    rows = [
        readout(k[:, line], kspace_encode_step_1=line, slice=s, position=(10, 20, 30 + 7 * s), **place)
        for s in range(2) for line in range(6)
    ]  # fmt: skip
    scan = load(write(tmp_path / "slices.h5", rows))
    assert scan.data.shape == (2, 2, 6, 4)
    assert scan.grid.voxel_mm == pytest.approx((7.0, 2.0, 2.0))
    centre = np.array(scan.grid.affine) @ [2, 3, 1, 1]
    np.testing.assert_allclose(centre[:3], [-10, -20, 37])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("<broken", "no readable XML"),
        (HEADER.replace("encodedSpace", "other"), "no encoded matrix size"),
        (HEADER.replace("cartesian", "spiral"), "spiral trajectory"),
        (HEADER.replace("<y>6</y>", "<y>4</y>"), "header and the data disagree"),
        ("<!DOCTYPE a>" + HEADER.split("?>")[1], "entities"),
    ],
)
def test_headers_that_cannot_be(tmp_path, header, message):
    _, k = kspace()
    rows = [readout(k[:, line], kspace_encode_step_1=line) for line in range(6)]
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "scan.h5", rows, header))


def test_header_against_array_and_truncation(tmp_path):
    _, k = kspace()
    rows = [readout(k[:, line], kspace_encode_step_1=line) for line in range(6)]
    rows[2][0]["number_of_samples"] = 7
    with pytest.raises(InputError, match="readout 2"):
        load(write(tmp_path / "scan.h5", rows))
    whole = write(tmp_path / "whole.h5", [readout(np.ones((2, 8))) for _ in range(200)]).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"truncated|damaged"):
        load(tmp_path / "cut.h5")
