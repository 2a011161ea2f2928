import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.io.fastmri import acquired_columns
from recon3d.io.formats import format_for, load
from recon3d.io.mrd_header import parse_header
from recon3d.io.parts import magnitude, phase
from recon3d.synthetic.mri_drawing import draw_mri, write_fastmri

h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def drawn():
    return draw_mri("brain", seed=1, shape=(2, 24, 20), coils=3, contrast="AXT2")


def test_reads_k_space_without_the_target(tmp_path, drawn):
    path = tmp_path / "file_brain.h5"
    write_fastmri(path, drawn)
    assert format_for(path)[0] == "fastmri"
    scan = load(path)
    assert scan.data.shape == (3, 2, 24, 20)
    assert scan.kind == "mri"
    assert scan.grid.voxel_mm == pytest.approx((4.0, 220 / 24, 11.0))
    with h5py.File(path, "a") as file:  # what comes from the truth changes nothing
        file.attrs["max"], file.attrs["norm"] = 1e9, 1e9
        del file["reconstruction_rss"]
    again = load(path)
    assert np.array_equal(again.data, scan.data)
    assert dict(again.acquisition) == dict(scan.acquisition)
    full = load(path, oversampling=True)
    assert full.data.shape == (3, 2, 48, 20)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.data, axes=(2, 3)), norm="ortho"), axes=(2, 3))
    rss = np.sqrt((np.abs(images) ** 2).sum(0))
    assert np.corrcoef(rss.ravel(), drawn.target.ravel())[0, 1] > 0.99
    assert load(path, slices=(1, 2)).data.shape == (3, 1, 24, 20)
    with pytest.raises(InputError, match="fewer"):
        load(path, slices=(5, 6))


def test_masked_files(tmp_path, drawn):
    path = tmp_path / "test.h5"
    mask = np.zeros(20, bool)
    mask[[1, 5, 8, 9, 10, 11, 13, 17]] = True
    write_fastmri(path, drawn, mask=mask)
    with h5py.File(path) as file:
        assert set(file) == {"kspace", "ismrmrd_header", "mask"}
        assert dict(file.attrs)["num_low_frequency"] == 4
        assert "max" not in file.attrs
    scan = load(path)
    assert np.array_equal(scan.acquisition["mask"], mask)
    missing = scan.data[..., ~mask]
    assert not missing.any()
    assert not np.signbit(missing.real).any()
    assert not np.signbit(missing.imag).any()
    with h5py.File(path, "a") as file:
        del file["mask"]
        file["mask"] = np.ones(19)
    with pytest.raises(InputError, match="19 columns, k-space has 20"):
        load(path)


def test_header_and_array_disagree(tmp_path, drawn):
    path = tmp_path / "file.h5"
    write_fastmri(path, drawn)
    with h5py.File(path, "a") as file:
        text = file["ismrmrd_header"][()].decode()
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = text.replace("<x>48</x>", "<x>40</x>").encode()
    with pytest.raises(InputError, match="disagree"):
        load(path)


def test_nan_and_truncation(tmp_path, drawn):
    path = tmp_path / "file.h5"
    write_fastmri(path, drawn)
    whole = path.read_bytes()
    with h5py.File(path, "a") as file:
        file["kspace"][0, 0, 3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        load(path, oversampling=True)
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match=r"damaged|truncated"):
        load(path)


def test_columns_of_an_asymmetric_matrix():
    text = """<h><encoding><encodedSpace><matrixSize><x>640</x><y>372</y><z>1</z></matrixSize></encodedSpace>
    <encodingLimits><kspace_encoding_step_1><center>184</center><maximum>367</maximum></kspace_encoding_step_1>
    </encodingLimits></encoding></h>"""
    header = parse_header(text, "a file")
    assert acquired_columns(header, 372) == slice(2, 370)
    assert header.recon == (1, 372, 640)
    assert any("field of view" in line for line in header.assumed)
    assert acquired_columns(parse_header(text.replace("maximum", "other"), "a file"), 372) == slice(0, 372)


def test_calgary_campinas(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 3, 6, 5)) + 1j * rng.normal(size=(2, 3, 6, 5))  # coil, slice, y, z
    k = np.fft.fft2(image).transpose(1, 2, 3, 0)
    stored = np.empty((3, 6, 5, 4), np.float32)
    stored[..., ::2], stored[..., 1::2] = k.real, k.imag
    path = tmp_path / "e1.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = stored
    assert format_for(path)[0] == "calgary"
    scan = load(path)
    assert scan.data.shape == (2, 3, 6, 5)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.data, axes=(2, 3)), norm="ortho"), axes=(2, 3))
    np.testing.assert_allclose(np.abs(images), np.abs(image), atol=1e-4)
    assert load(path, slices=(1, 2)).data.shape == (2, 1, 6, 5)


def test_cmrxrecon(tmp_path):
    pairs = np.zeros((2, 3, 4, 6, 5), [("real", "f4"), ("imag", "f4")])
    pairs["real"] = np.random.default_rng(0).normal(size=pairs.shape)
    path = tmp_path / "cine_sax.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["kspace_sub04"] = pairs
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")
    assert format_for(path)[0] == "cmrxrecon"
    scan = load(path, voxel_mm=(8, 2, 2))
    assert scan.data.shape == (2, 4, 3, 6, 5)
    assert scan.axes[0] == "t"
    assert scan.data[1, 3, 2, 4, 1] == pairs["real"][1, 2, 3, 4, 1]
    assert scan.grid.voxel_mm == pytest.approx((8, 2, 2))
    assert load(path, slice_index=1).data.shape == (2, 4, 1, 6, 5)
    with pytest.raises(InputError, match="has no 'kspace_full'"):
        load(path, key="kspace_full")


def test_magnitude_and_phase():
    from recon3d.grid import AffineGrid
    from recon3d.volume import Volume

    volume = Volume(np.array([[[3 + 4j, -1j]]], np.complex64), AffineGrid.centred((1, 1, 2), 1.0))
    np.testing.assert_allclose(magnitude(volume).data, [[[5, 1]]])
    np.testing.assert_allclose(phase(volume).data, [[[np.arctan2(4, 3), -np.pi / 2]]], rtol=1e-6)
    assert phase(volume).units == "rad"
    assert magnitude(magnitude(volume)).data.dtype == np.float32
