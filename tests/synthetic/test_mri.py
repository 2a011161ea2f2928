import h5py
import numpy as np
import pytest

from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.io.formats import load
from recon3d.synthetic.mri import coil_sensitivities, scan_mri, simulate_mri
from recon3d.synthetic.mri_drawing import CONTRASTS, draw_folders, draw_mri, write_fastmri
from recon3d.synthetic.simulate import simulate
from recon3d.volume import Volume


def images_of(kspace):
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


@pytest.mark.parametrize("anatomy", ["brain", "knee"])
def test_shapes_target_and_seed(anatomy):
    first = draw_mri(anatomy, seed=3, shape=(2, 32, 28), coils=3, snr=1e6)
    again = draw_mri(anatomy, seed=3, shape=(2, 32, 28), coils=3, snr=1e6)
    other = draw_mri(anatomy, seed=4, shape=(2, 32, 28), coils=3, snr=1e6, contrast=first.contrast)
    assert first.kspace.shape == (2, 3, 64, 28)
    assert np.array_equal(first.kspace, again.kspace)
    assert np.abs(first.target - other.target).max() > 0.1 * first.target.max()
    images = images_of(first.kspace)
    rss = np.sqrt((np.abs(images) ** 2).sum(1))
    np.testing.assert_allclose(rss[:, 16:48], first.target, atol=1e-4 * first.target.max())
    assert rss[:, :10].max() < 0.2 * rss.max()  # the oversampled outside holds ringing only
    assert np.abs(np.angle(images[np.abs(images) > 0.2 * np.abs(images).max()])).std() > 0.1


def test_noise_has_the_stated_level_and_is_correlated():
    quiet = draw_mri("brain", seed=1, shape=(2, 48, 48), coils=4, snr=1e7)
    noisy = draw_mri("brain", seed=1, shape=(2, 48, 48), coils=4, snr=20)
    noise = (noisy.kspace - quiet.kspace).transpose(1, 0, 2, 3).reshape(4, -1)
    covariance = noise @ noise.conj().T / noise.shape[1]
    strength = np.sqrt(np.diag(covariance).real / 2)
    assert strength.max() / strength.min() < 1.1
    correlation = np.abs(covariance[0, 1:]) / np.sqrt(np.diag(covariance).real[0] * np.diag(covariance).real[1:])
    assert correlation.max() > 0.05
    bright = np.quantile(quiet.target[quiet.target > 0.1 * quiet.target.max()], 0.9)
    assert bright / 2 / strength.mean() == pytest.approx(20, rel=0.1)


def test_contrasts_differ_as_they_should():
    def drawn(contrast):
        return draw_mri("brain", seed=2, shape=(1, 64, 64), coils=1, contrast=contrast, snr=1e6).target[0]

    t2, flair = drawn("AXT2"), drawn("AXFLAIR")
    fluid = t2 > 0.5 * t2.max()
    assert fluid.sum() > 20
    assert flair[fluid].mean() < 0.4 * flair.max()
    assert set(CONTRASTS) >= {"AXT1", "CORPD_FBK"}


def test_sets_are_disjoint_and_test_files_hold_no_target(tmp_path):
    settings = {"anatomy": "knee", "shape": (1, 16, 16), "coils": 2, "seed": 5, "centre_fraction": 0.25}

    def files(folder, counts):
        written = []
        for path, drawn, mask in draw_folders(counts, **settings):
            target = tmp_path / folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            write_fastmri(target, drawn, mask=mask)
            written.append(target)
        return written

    paths = files("", {"train": 2, "test": 1})
    assert [p.parent.name for p in paths] == ["train", "train", "test"]
    scans = [load(p) for p in paths]
    assert not np.array_equal(scans[0].data, scans[1].data)
    assert scans[2].acquisition["mask"].sum() < 8
    with h5py.File(paths[2]) as file:
        assert set(file) == {"kspace", "mask", "ismrmrd_header"}
    more = files("more", {"train": 1, "val": 1, "test": 1})
    assert np.array_equal(load(more[0]).data, scans[0].data)
    assert np.array_equal(load(more[2]).data, scans[2].data)
    with pytest.raises(ConfigError, match="train, val, test"):
        next(draw_folders({"training": 1}))


def volume(shape=(2, 32, 32)):
    data = np.zeros(shape, np.float32)
    data[:, 8:24, 10:22] = 1
    return Volume(data, AffineGrid.centred(shape, (3, 1, 1)))


def test_simulate_a_volume():
    scan = simulate(volume(), {"kind": "mri", "coils": 4, "acceleration": 1.0}, noise={"snr": None}, seed=1)
    assert scan.data.shape == (4, 2, 32, 32)
    assert scan.grid == volume().grid
    assert "the phase is synthetic" in scan.acquisition["prepared"]
    assert "4 coils, acceleration 1 (" in scan.acquisition["prepared"]
    rss = np.sqrt((np.abs(images_of(scan.data)) ** 2).sum(0))
    inside = volume().data > 0
    assert rss[inside].min() > 2 * rss[~inside].mean()
    rows, columns = np.indices((32, 32))
    weights = rss[0] ** 2 / (np.abs(coil_sensitivities(4, (1, 32, 32), np.random.default_rng(0))) ** 2).sum((0, 1))
    assert (weights * rows).sum() / weights.sum() == pytest.approx(15.5, abs=0.7)
    assert (weights * columns).sum() / weights.sum() == pytest.approx(15.5, abs=0.7)
    fast = simulate_mri(volume(), coils=4, seed=1)
    assert not fast.data[..., ~fast.acquisition["mask"]].any()


def test_a_complex_volume_keeps_its_phase():
    angle = np.linspace(-1, 1, 32, dtype=np.float32)
    scan = simulate_mri(volume().with_data(volume().data * np.exp(1j * angle)), coils=1, acceleration=1.0, snr=None)
    flat = simulate_mri(volume().with_data(volume().data + 0j), coils=1, acceleration=1.0, snr=None)
    assert "synthetic" not in scan.acquisition["prepared"]
    inside = volume().data > 0
    turned = np.angle(images_of(scan.data)[0] * images_of(flat.data)[0].conj())
    assert np.abs(turned - angle)[inside].max() < 0.03


def test_a_finer_drawing_is_scanned_without_the_inverse_crime():
    fine = Volume(np.repeat(np.repeat(volume().data, 2, 1), 2, 2) + 0j, AffineGrid.centred((2, 64, 64), (3, 0.5, 0.5)))
    scan, target = scan_mri(fine, (32, 32), coils=3, snr=None, seed=2)
    assert scan.data.shape == (3, 2, 32, 32)
    assert scan.grid.voxel_mm == pytest.approx((3, 1, 1))
    assert scan.grid.centre_mm == pytest.approx(fine.grid.centre_mm)
    np.testing.assert_allclose(np.sqrt((np.abs(images_of(scan.data)) ** 2).sum(0)), target, atol=1e-5)
    # Cut out of the finer k-space, edges ring: the scan is not the drawing's pixel means.
    assert np.ptp(target[0, 10:22, 12:20]) > 0.02 * target.max()


def test_bad_input():
    with pytest.raises(InputError, match="not negative"):
        simulate_mri(volume().with_data(-volume().data))
    with pytest.raises(InputError, match="finite values"):
        simulate_mri(volume().with_data(volume().data * 0))
    with pytest.raises(InputError, match="whole number of times finer"):
        scan_mri(volume(), (32, 20))
    with pytest.raises(ConfigError, match="'snr'"):
        simulate_mri(volume(), snr=0)
    with pytest.raises(ConfigError, match="'finer'"):
        simulate_mri(volume(), finer=0)
    with pytest.raises(ConfigError, match="'brain' or 'knee'"):
        draw_mri("heart", seed=0)
    with pytest.raises(ConfigError, match="AXT1"):
        draw_mri("brain", seed=0, contrast="T3")
    with pytest.raises(ConfigError, match="at least one coil"):
        draw_mri("brain", seed=0, shape=(1, 8, 8), coils=0)
