"""evaluate, submit and undersample: three volumes end to end, and every fault a sentence."""

from __future__ import annotations

import csv
import json
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recon3d.cli import main
from recon3d.io.leaderboard import write_reconstruction

from .fastmri_files import COLUMNS, RECON, write_fastmri

Cli = Callable[..., Any]
NAMES = ("file1000001.h5", "file1000002.h5", "file1000003.h5")
METHODS = ("zero-filled", "cg-sense", "l1-wavelet")
NEEDS_FASTMRI = "needs fastmri: `pip install --no-deps fastmri==0.3.0; pip install runstats pandas requests`"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with full/, test/ and a submission by each method."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "full").mkdir()
    for seed, name in enumerate(NAMES):
        write_fastmri(folder / "full" / name, seed, acquisition="CORPD_FBK" if seed < 2 else "CORPDFS_FBK")
    assert main(["undersample", str(folder / "full"), str(folder / "test"), "-R", "4"]) == 0
    for method in METHODS:
        arguments = [
            "submit",
            f"{folder}/test",
            f"{folder}/{method}",
            "--config",
            f"mri-{method}",
            "--quiet",
            "--threads",
            "1",
        ]
        assert main(arguments) == 0
    return folder


@pytest.fixture
def here(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(study, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return tmp_path / "study"


def faults(answer: Any) -> list[str]:
    lines = answer.err.strip("\n").splitlines()
    assert all(line.startswith("recon3d: ") for line in lines), answer.err
    return [line.removeprefix("recon3d: ") for line in lines]


# What works


def test_three_volumes_end_to_end(cli: Cli, here: Path) -> None:
    outputs = [option for suffix in ("csv", "json", "html") for option in ("-o", f"scores.{suffix}")]
    done = cli("evaluate", *METHODS, "full", *outputs, "--pictures", "pictures")
    assert (done.code, done.err) == (0, "")
    for said in ("CORPDFS_FBK R 4", "cg-sense - l1-wavelet", "foreground", "95%"):
        assert said in done.out
    found = json.loads(Path("scores.json").read_text())
    chosen = [row for row in found["summary"] if (row["group"], row["region"]) == ("all", "official")]
    mean = {row["method"]: row for row in chosen if row["metric"] == "NMSE"}
    assert mean["zero-filled"]["mean"] > 1.5 * mean["cg-sense"]["mean"] > 0
    assert mean["zero-filled"]["mean"] > 1.5 * mean["l1-wavelet"]["mean"] > 0
    assert all(row["low"] < row["mean"] < row["high"] and row["count"] == 3 for row in mean.values())
    assert {row["p"] for row in found["pairs"]} <= {0.25, 0.5, 0.75, 1.0}  # what three volumes can say
    with Path("scores.csv").open() as stream:
        rows = {(row["method"], row["volume"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 9
    for case in found["volumes"]:
        assert float(rows[case["method"], case["volume"]]["SSIM"]) == case["official"]["ssim"]
        assert case["note"] == ""
    assert {p.name for p in Path("pictures").iterdir()} == {f"{Path(name).stem}.png" for name in NAMES}
    again = cli("evaluate", *METHODS, "full", "--pictures", "pictures")
    assert (again.code, "holds file1000001.png already" in again.sentence) == (2, True)
    page = Path("scores.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "://" not in page


def test_the_numbers_are_those_of_the_official_package(cli: Cli, here: Path) -> None:
    official = pytest.importorskip("fastmri.evaluate", reason=NEEDS_FASTMRI)
    answer = json.loads(cli("evaluate", "cg-sense", "full", "--json").out)
    ours = {r["metric"]: r["mean"] for r in answer["summary"] if (r["group"], r["region"]) == ("all", "official")}
    paths = Namespace(
        target_path=here / "full", predictions_path=here / "cg-sense", acquisition=None, acceleration=None
    )
    for name, value in official.evaluate(paths, "reconstruction_rss").means().items():
        ours_named = ours["PSNR dB" if name == "PSNR" else name]
        assert ours_named == pytest.approx(float(np.ravel(value)[0]), rel=1e-6), name


def test_the_layout_of_a_submission(here: Path) -> None:
    for method in METHODS:
        assert {p.name for p in (here / method).iterdir()} == set(NAMES)
        with h5py.File(here / method / NAMES[0]) as file:
            assert list(file) == ["reconstruction"]
            assert file["reconstruction"].shape == (2, RECON, RECON)
            assert file["reconstruction"].dtype == np.float32
            assert (file.attrs["acceleration"], file.attrs["acquisition"]) == (4, "CORPD_FBK")


def test_undersampled_files_hold_nothing_of_the_target(here: Path) -> None:
    with h5py.File(here / "test" / NAMES[0]) as file, h5py.File(here / "full" / NAMES[0]) as full:
        assert set(file) == {"kspace", "mask", "ismrmrd_header"}
        assert set(file.attrs) == {"acquisition", "patient_id", "acceleration", "num_low_frequency"}
        mask, kspace = file["mask"][()], file["kspace"][()]
        assert np.array_equal(kspace[..., mask], full["kspace"][()][..., mask])
    unseen = kspace[..., ~mask]
    assert not unseen.any()
    assert not np.signbit(unseen.real).any()
    assert not np.signbit(unseen.imag).any()
    assert mask[(COLUMNS - 4 + 1) // 2 :][:4].all()  # round(0.08 x 52) = 4 lines in the centre


def test_truth_never_reaches_a_method(cli: Cli, here: Path) -> None:
    """Wrong `max`, `norm` and targets in the files to be reconstructed change not a bit."""
    shutil.copytree("test", "leaky")
    for name in NAMES:
        with h5py.File(Path("leaky") / name, "r+") as file:
            file.attrs.update(max=1e9, norm=-5.0)
            file["reconstruction_rss"] = np.full((2, RECON, RECON), 1e9, np.float32)
    assert cli("submit", "leaky", "again", "--config", "mri-cg-sense", "--quiet", "--threads", 1).code == 0
    for name in NAMES:
        with h5py.File(Path("again") / name) as ours, h5py.File(Path("cg-sense") / name) as theirs:
            assert np.array_equal(ours["reconstruction"][()], theirs["reconstruction"][()])


def test_a_submission_goes_on_where_it_stopped(cli: Cli, here: Path) -> None:
    shutil.rmtree("zero-filled")
    Path("zero-filled-volumes", "file1000002.h5").unlink()
    before = Path("zero-filled-volumes", "file1000001.h5").stat().st_mtime_ns
    done = cli("submit", "test", "zero-filled", "--config", "mri-zero-filled", "--quiet", "--threads", 1)
    assert (done.code, done.out) == (0, "zero-filled: 3 files, read again; 1 volumes reconstructed\n")
    assert Path("zero-filled-volumes", "file1000001.h5").stat().st_mtime_ns == before
    done = cli("submit", "test", "other", "--results", "cg-sense-volumes")  # volumes that are there need no recipe
    assert (done.code, "0 volumes reconstructed" in done.out) == (0, True)
    done = cli("submit", "test", "third", "--results", "cg-sense-volumes", "--config", "mri-zero-filled", "--quiet")
    assert done.code == 1
    assert all("another configuration" in fault for fault in faults(done))


# What cannot be scored


def test_bad_results_are_told_and_the_rest_is_scored(cli: Cli, here: Path) -> None:
    for k in (4, 5, 6, 7, 8):
        write_fastmri(here / "full" / f"file100000{k}.h5", k)
    good = np.random.default_rng(0).random((2, RECON, RECON)).astype(np.float32)
    folder = Path("cg-sense")
    (folder / NAMES[0]).unlink()
    write_reconstruction(folder / "file1999999.h5", good)
    write_reconstruction(folder / "file1000004.h5", good[:1])
    write_reconstruction(folder / "file1000005.h5", np.pad(good, ((0, 0), (4, 4), (4, 4))))
    for k, bad in ((6, np.where(good > 0.5, np.nan, good)), (7, good.astype(complex))):
        with h5py.File(folder / f"file100000{k}.h5", "w") as file:
            file["reconstruction"] = bad
    (folder / "file1000008.h5").write_bytes(b"no HDF5 at all")
    done = cli("evaluate", "cg-sense", "full", "-o", "scores.json")
    assert done.code == 1
    said = faults(done)
    for name, words in {
        NAMES[0]: "missing",
        "file1999999.h5": "no reference",
        "file1000004.h5": "1 slices, the target 2",
        "file1000005.h5": "wrong crop",
        "file1000006.h5": "NaN",
        "file1000007.h5": "real magnitudes",
        "file1000008.h5": "damaged",
    }.items():
        (line,) = [line for line in said if name in line]
        assert words in line
        assert line.startswith(f"cg-sense/{name}")
    assert len(said) == 7
    found = json.loads(Path("scores.json").read_text())
    assert [case["volume"] for case in found["volumes"]] == ["file1000002", "file1000003"]
    assert found["faults"] == said


def test_references_without_a_target(cli: Cli, here: Path) -> None:
    done = cli("evaluate", "cg-sense", "test")
    assert done.code == 1
    assert all(fault.startswith("Reference file100000") and "holds no target" in fault for fault in faults(done))


def test_single_coil_files_are_scored_against_their_own_target(cli: Cli, here: Path) -> None:
    with h5py.File(Path("full") / NAMES[0], "r+") as file:
        file["reconstruction_esc"] = np.ones((2, RECON, RECON), np.float32)
        kspace = file["kspace"][:, 0]
        del file["kspace"]
        file["kspace"] = kspace
    Path("results").mkdir()
    write_reconstruction(Path("results") / NAMES[0], np.ones((2, RECON, RECON)))
    scores = {}
    for challenge in ("auto", "multicoil"):
        answer = cli("evaluate", "results", "full", "--challenge", challenge, "--json")
        scores[challenge] = json.loads(answer.out)["volumes"][0]["official"]["nmse"]
    assert scores["auto"] == 0.0
    assert scores["multicoil"] > 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "nowhere", "full"), "no folder nowhere"),
        (("evaluate", "cg-sense", "cg-sense", "full"), "given twice"),
        (("evaluate", "cg-sense", "full", "-o", "scores.xls"), "expected one of .csv, .json, .html"),
        (("evaluate", "cg-sense", "full", "--challenge", "both"), "A challenge is"),
        (("submit", "test", "new", "--config", "mri-cg-sens"), "did you mean 'mri-cg-sense'"),
        (("submit", "test", "new"), "no folder new-volumes"),
        (("submit", "test", "test", "--config", "mri-cg-sense"), "two of them are one"),
        (("submit", "test", "cg-sense", "--config", "mri-cg-sense"), "--force"),
        (("submit", "test", "new", "method.iterations=3"), "Settings need a recipe"),
        (("undersample", "full", "new", "--pattern", "spiral"), "A mask pattern is one of"),
        (("undersample", "full", "new", "-R", "5"), "Accelerations are some of 4, 8, 16"),
        (("undersample", "full", "full"), "inputs and outputs are one"),
    ],
)
def test_what_cannot_start(cli: Cli, here: Path, arguments: tuple[str, ...], words: str) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.sentence


def test_undersampling_twice_is_refused_file_by_file(cli: Cli, here: Path) -> None:
    done = cli("undersample", "test", "new")
    assert done.code == 1
    assert faults(done) == [f"{name} is undersampled already." for name in NAMES]
    assert list(Path("new").iterdir()) == []
