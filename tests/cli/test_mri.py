"""MRI on the command line: simulated, drawn, reconstructed in parts, and refused with one sentence."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from recon3d.grid import AffineGrid
from recon3d.io import load, save
from recon3d.scan import Scan
from recon3d.synthetic.mri_drawing import draw_mri, write_fastmri
from recon3d.volume import Volume

Cli = Callable[..., Any]
CG = ("--config", "mri-cg-sense", "method.iterations=5", "--quiet")


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with magnitudes and a fully sampled fastMRI file."""
    monkeypatch.chdir(tmp_path)
    drawn = draw_mri("brain", seed=1, shape=(2, 32, 32), coils=4)
    write_fastmri(Path("full.h5"), drawn)
    save(Volume(drawn.target, AffineGrid.centred((2, 32, 32), (4, 2, 2))), "head.nii.gz")
    return tmp_path


def mended(name: str, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(name, "r+") as file:
        change(file)


def replaced(file: h5py.File, key: str, value: Any) -> None:
    if key in file:
        del file[key]
    file[key] = value


def values_of(name: str) -> NDArray[Any]:
    volume = load(f"{name}.nii.gz")
    assert isinstance(volume, Volume)
    return volume.data


def test_a_volume_is_scanned_and_the_scan_says_how(cli: Cli, head: Path) -> None:
    settings = ("coils=4", "sampling.acceleration=2", "sampling.centre_fraction=0.25", "noise.snr=60")
    assert cli("simulate", "head.nii.gz", "scan.h5", "-c", "mri-cartesian", *settings).code == 0
    scan = load("scan.h5")
    assert isinstance(scan, Scan)
    assert (scan.kind, scan.blocks[0].shape) == ("mri", (4, 2, 32, 32))
    assert 14 <= np.count_nonzero(scan.acquisition["mask"]) <= 18
    assert "the phase is synthetic" in cli("inspect", "scan.h5").out
    assert cli("reconstruct", "scan.h5", "out.nii.gz", *CG).code == 0
    record = json.loads(Path("out.recon.json").read_text())
    assert any("4 coils, acceleration 2" in note and "signal to noise 60" in note for note in record["notes"])
    assert any("the phase is synthetic" in note for note in record["notes"])
    assert 0.3 < record["result"]["residual_to_noise"] < 3


def test_complex_images_are_written_as_it_is_asked(cli: Cli, head: Path) -> None:
    assert cli("reconstruct", "full.h5", "plain.nii.gz", *CG).code == 0
    assert cli("reconstruct", "full.h5", "whole.nii.gz", *CG, "--complex").code == 0
    assert cli("reconstruct", "full.h5", "parts.nii.gz", *CG, "--phase").code == 0
    plain, whole, parts, phase = (values_of(name) for name in ("plain", "whole", "parts", "parts.phase"))
    assert plain.dtype == parts.dtype == phase.dtype == np.float32
    assert whole.dtype == np.complex64
    np.testing.assert_allclose(plain, np.abs(whole), rtol=1e-6)
    np.testing.assert_allclose(parts * np.exp(1j * phase), whole, atol=1e-5 * plain.max())
    values = [json.loads(Path(f"{n}.recon.json").read_text())["result"]["values"] for n in ("plain", "whole", "parts")]
    assert values == ["magnitude", "complex", "magnitude, phase beside it"]
    done = cli("reconstruct", "full.h5", "parts.nii.gz", *CG, "--phase")
    assert (done.code, "exists already" in done.sentence) == (2, True)


def test_no_phase_of_a_real_image(cli: Cli, here: Path) -> None:
    for flag in ("--complex", "--phase"):
        done = cli("reconstruct", "scan.h5", "o.nii.gz", "-c", "ct-parallel-fbp", flag)
        assert (done.code, "for complex images" in done.sentence) == (2, True)
    done = cli("reconstruct", "scan.h5", "o.nii.gz", "-c", "ct-parallel-fbp", "scan.mri.map_sets=2")
    assert (done.code, "scan.mri is for MRI" in done.sentence) == (2, True)


def test_settings_of_the_coils_and_of_the_reader(cli: Cli, head: Path) -> None:
    settings = ("scan.mri.coil_maps=walsh", "scan.mri.coil_batch=3", "read.slices=[0, 1]", "read.oversampling=true")
    assert cli("reconstruct", "full.h5", "o.nii.gz", *CG, *settings).code == 0
    assert values_of("o").shape == (1, 64, 32)
    done = cli("reconstruct", "full.h5", "p.nii.gz", *CG, "read.slice=[0, 1]")
    assert (done.code, "no option slice: expected one of oversampling, slices" in done.sentence) == (2, True)


def test_a_3d_scan_is_split_along_its_readout(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = np.zeros((8, 12, 10))
    image[2:6, 3:9, 2:7] = np.random.default_rng(0).uniform(1, 2, (4, 6, 5))
    k = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image), norm="ortho"))[None].astype(np.complex64)
    grid = AffineGrid.centred(image.shape, (1, 2, 3))
    save(Scan("mri", k, ("coil", "kz", "ky", "kx"), {"encoding": "3d", "coil_maps": "low-resolution"}, grid), "3d.h5")
    for name, split in (("whole", "false"), ("split", "true")):
        done = cli("reconstruct", "3d.h5", f"{name}.nii.gz", "-c", "mri-zero-filled", f"scan.mri.split_readout={split}")
        assert done.code == 0, done
    np.testing.assert_allclose(values_of("split"), values_of("whole").transpose(2, 0, 1), atol=1e-4)
    done = cli("reconstruct", "3d.h5", "o.nii.gz", "-c", "mri-zero-filled", "grid.shape=[8,12,9]")
    assert (done.code, "shape of the grid" in done.sentence) == (2, True)


def test_folders_are_drawn(cli: Cli, tmp_path: Path) -> None:
    small = ("--shape", 1, 16, 16, "--coils", 2, "--centre", 0.25, "--quiet", "--threads", 1)
    folder = tmp_path / "drawn"
    done = cli("draw", "mri", folder, "--train", 2, "--val", 1, "--test", 1, "--anatomy", "knee", *small)
    assert (done.code, done.err) == (0, "")
    assert {path.parent.name: len(list(path.parent.iterdir())) for path in folder.rglob("*.h5")} == {
        "train": 2, "val": 1, "test": 1,
    }  # fmt: skip
    with h5py.File(next((folder / "test").iterdir())) as file:
        assert set(file) == {"kspace", "mask", "ismrmrd_header"}
    done = cli("draw", "mri", folder, "--train", 1, "--val", 0, "--test", 0, *small)
    assert (done.code, "holds files already" in done.sentence) == (2, True)
    for arguments, said in (
        ((tmp_path / "x", "--train", 0, "--val", 0, "--test", 0), "how many volumes"),
        ((tmp_path / "no" / "x",), "does not exist"),
        ((tmp_path / "x", "--anatomy", "foot"), "'brain' or 'knee', got 'foot'"),
        ((tmp_path / "x", "--snr", -1), "'snr' is a positive number"),
    ):
        done = cli("draw", "mri", *arguments, *small)
        assert (done.code, said in done.sentence) == (2, True), done
    assert not (tmp_path / "x").exists()


def test_a_dead_coil_is_left_out_and_named(cli: Cli, head: Path) -> None:
    def kill(file: h5py.File) -> None:
        file["kspace"][:, 2] = 0

    mended("full.h5", kill)
    assert "signal of coil 2: none" in cli("inspect", "full.h5").out
    assert cli("reconstruct", "full.h5", "o.nii.gz", *CG).code == 0
    assert "coil 2 holds no signal, so it is left out" in json.loads(Path("o.recon.json").read_text())["notes"]
    assert np.isfinite(values_of("o")).all()


def wide_mask(file: h5py.File) -> None:
    replaced(file, "mask", np.ones(33, bool))


def no_centre(file: h5py.File) -> None:
    replaced(file, "mask", np.arange(32) % 2 == 0)


def other_header(file: h5py.File) -> None:
    replaced(file, "ismrmrd_header", file["ismrmrd_header"][()].replace(b"<y>32</y>", b"<y>30</y>"))


def broken_header(file: h5py.File) -> None:
    replaced(file, "ismrmrd_header", b"<ismrmrdHeader>")


def not_a_number(file: h5py.File) -> None:
    file["kspace"][0, 1, 30:34, 15:17] = np.nan


def silence(file: h5py.File) -> None:
    file["kspace"][...] = 0


def real_data(file: h5py.File) -> None:
    replaced(file, "kspace", np.abs(file["kspace"][()]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (wide_mask, "has 33 columns, k-space has 32"),
        (no_centre, "no fully sampled centre of k-space (ACS)"),
        (other_header, "they disagree"),
        (broken_header, "full.h5"),
        (not_a_number, "NaN"),
        (silence, "zero everywhere"),
        (real_data, "expected complex"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(cli: Cli, head: Path, change: Any, said: str) -> None:
    mended("full.h5", change)
    before = {path.name for path in head.iterdir()}
    done = cli("reconstruct", "full.h5", "o.nii.gz", *CG)
    assert (done.code, said in done.sentence) == (2, True), done
    assert "defect" not in done.sentence
    assert {path.name for path in head.iterdir()} == before


def test_truncated_files(cli: Cli, head: Path) -> None:
    whole = Path("full.h5").read_bytes()
    for length in (0, 20, 2000, len(whole) // 2, len(whole) - 100):
        Path("full.h5").write_bytes(whole[:length])
        done = cli("reconstruct", "full.h5", "o.nii.gz", *CG)
        assert (done.code, "full.h5" in done.sentence, "defect" in done.sentence) == (2, True, False), length


def raw_file(path: Path, *, noise: str) -> None:
    """An ISMRMRD file of two coils: without noise scan, with a good one, or with a dead coil in it."""
    spec = importlib.util.spec_from_file_location("readouts", Path(__file__).parents[1] / "io" / "test_readouts.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    _, k = made.kspace()
    rows = [made.readout(k[:, line], kspace_encode_step_1=line) for line in range(6)]
    if noise != "none":
        values = np.random.default_rng(0).normal(size=(2, 64)) + 1j * np.random.default_rng(1).normal(size=(2, 64))
        values[1] *= noise != "dead"
        rows.insert(0, made.readout(values, flags=(19,)))
    made.write(path, rows)


@pytest.mark.parametrize(
    ("noise", "said"), [("none", "has no noise scan"), ("dead", "coil 1 is dead or repeats another"), ("good", "")]
)
def test_prewhitening_needs_a_noise_scan(cli: Cli, head: Path, noise: str, said: str) -> None:
    raw_file(head / "raw.h5", noise=noise)
    done = cli("reconstruct", "raw.h5", "o.nii.gz", *CG, "read.prewhiten=true", "scan.mri.coil_maps=low-resolution")
    if noise == "good":
        assert done.code == 0, done
    else:
        assert (done.code, said in done.sentence) == (2, True), done
