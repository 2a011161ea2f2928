"""Every command, and every fault: one sentence, the right exit code, no partial output."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recon3d.errors import ReconError
from recon3d.grid import AffineGrid
from recon3d.io import load, save
from recon3d.scan import Scan
from recon3d.volume import Volume

Cli = Callable[..., Any]
Left = Callable[[], set[str]]
FBP = ("--config", "ct-parallel-fbp")
SIRT = ("--config", "ct-parallel-sirt", "method.iterations=4")


def volume(path: str | Path) -> Volume:
    found = load(path)
    assert isinstance(found, Volume)
    return found


# What works


def test_from_a_file_to_a_file(cli: Cli, here: Path, left: Left) -> None:
    done = cli("reconstruct", "scan.h5", "fbp.nii.gz", *FBP)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("fbp.nii.gz: (5, 14, 14) in HU")
    assert left() == {"fbp.nii.gz", "fbp.png", "fbp.html", "fbp.recon.json"}
    result, truth = volume("fbp.nii.gz"), volume("truth.nii.gz")
    np.testing.assert_allclose(result.grid.matrix, truth.grid.matrix)  # type: ignore[union-attr]
    assert np.corrcoef(result.data.ravel(), truth.data.ravel())[0, 1] > 0.8
    record = json.loads((here / "fbp.recon.json").read_text())
    assert record["config"]["method"]["name"] == "fbp"
    assert record["result"]["units"] == "HU"
    assert record["versions"]["numpy"] == np.__version__


def test_a_record_repeats_the_run(cli: Cli, here: Path) -> None:
    assert cli("reconstruct", "scan.h5", "a.nii.gz", *SIRT, "scan.views.every=2").code == 0
    assert cli("reconstruct", "--from", "a.recon.json", "b.nii.gz").code == 0
    np.testing.assert_array_equal(volume("a.nii.gz").data, volume("b.nii.gz").data)
    assert cli("reconstruct", "--from", "a.recon.json", "c.nii.gz", "method.iterations=1").code == 0
    assert not np.array_equal(volume("a.nii.gz").data, volume("c.nii.gz").data)
    assert cli("reconstruct", "--from", "a.recon.json", "scan.h5", "d.nii.gz").code == 0
    np.testing.assert_array_equal(volume("a.nii.gz").data, volume("d.nii.gz").data)


def test_a_record_whose_input_changed(cli: Cli, here: Path, left: Left) -> None:
    assert cli("reconstruct", "scan.h5", "a.nii.gz", *FBP).code == 0
    with h5py.File("scan.h5", "r+") as file:
        file["data"][0] += 1
    done = cli("reconstruct", "--from", "a.recon.json", "b.nii.gz")
    assert (done.code, "has changed" in done.sentence) == (2, True)
    (here / "scan.h5").unlink()
    done = cli("reconstruct", "--from", "a.recon.json", "b.nii.gz")
    assert (done.code, "is gone" in done.sentence) == (2, True)


@pytest.mark.parametrize("method", [FBP, SIRT], ids=["fbp", "sirt"])
def test_slabs_equal_the_whole_bit_for_bit(cli: Cli, here: Path, method: tuple[str, ...]) -> None:
    assert cli("reconstruct", "scan.h5", "whole.h5", *method).code == 0
    assert cli("reconstruct", "scan.h5", "slabs.h5", *method, "--max-memory", "16K").code == 0
    assert json.loads((here / "slabs.recon.json").read_text())["plan"]["slab"] < 5
    np.testing.assert_array_equal(volume("slabs.h5").data, volume("whole.h5").data)
    assert volume("slabs.h5").grid == volume("whole.h5").grid


def test_dry_run_shows_the_plan_and_writes_nothing(cli: Cli, here: Path, left: Left) -> None:
    done = cli("reconstruct", "scan.h5", "x.nii.gz", *FBP, "--dry-run", "--threads", 1)
    assert done.code == 0
    for said in (
        "ct 'simulated ct'",
        "(5, 14, 14) voxels (z, y, x) of 2.5 x 1 x 1 mm",
        "HU",
        "fbp",
        "cpu, 1 threads",
        "MiB",
    ):
        assert said in done.out
    assert left() == set()


def test_output_grids(cli: Cli, here: Path) -> None:
    crop = volume("truth.nii.gz")
    matrix = crop.grid.matrix  # type: ignore[union-attr]
    matrix[:3, 3] += 3 * matrix[:3, 0] + 2 * matrix[:3, 1]
    save(Volume(crop.data[:, 2:12, 3:11], AffineGrid((5, 10, 8), tuple(map(tuple, matrix))), units="HU"), "crop.nii.gz")
    for name, settings in {"whole": [], "like": ["grid.like=crop.nii.gz"], "half": ["grid.voxel_mm=2"]}.items():
        assert cli("reconstruct", "scan.h5", f"{name}.h5", *FBP, *settings).code == 0
    np.testing.assert_allclose(volume("like.h5").data, volume("whole.h5").data[:, 2:12, 3:11], atol=0.05)
    assert volume("half.h5").shape == (5, 7, 7)
    np.testing.assert_allclose(volume("half.h5").voxel_mm, (2.5, 2, 2))


def test_compare(cli: Cli, here: Path) -> None:
    for name in ("a.nii.gz", "a.h5"):
        assert cli("reconstruct", "scan.h5", name, *FBP, "--force").code == 0
    done = cli("compare", "a.nii.gz", "a.h5", "--reference", "truth.nii.gz", "--picture", "p.png", "--json")
    assert done.code == 0
    rows = json.loads(done.out)
    assert [row["result"] for row in rows] == ["a.nii.gz", "a.h5"]  # equal stems must not hide one another
    assert rows[0]["PSNR dB"] == pytest.approx(rows[1]["PSNR dB"])
    assert (here / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "PSNR dB" in cli("compare", "a.h5", "-r", "truth.nii.gz").out
    done = cli("compare", "a.h5", "-r", "truth.nii.gz", "--picture", "p.png")
    assert (done.code, "p.png exists already" in done.sentence) == (2, True)


def test_lists(cli: Cli, here: Path) -> None:
    assert "scan.h5" in cli("inspect", "scan.h5").out
    assert json.loads(cli("inspect", "truth.nii.gz", "--json").out)["shape"] == [5, 14, 14]
    assert "ct-parallel-tv" in cli("configs").out
    assert "iterations" in cli("methods").out
    methods = json.loads(cli("methods", "--json").out)
    assert methods["sirt"]["settings"]["iterations"]["default"] == 100
    assert cli("models").code == 0


def test_doctor_names_the_projector_and_when_a_matrix_would_pay(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(cli("doctor", "--json").out)
    assert facts["ct projector"] == "works"
    assert "auto: the run is on" in facts["ct backend"]
    assert facts["astra on cuda"] == "works" or "finds no CUDA device" in facts["astra on cuda"]
    assert re.search("1 slice: .*pays.*; 4 slices: .*pays.*; 16 slices: .*pays", facts["stored ct matrix"])
    monkeypatch.setitem(sys.modules, "astra", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told = cli("doctor").out
    assert "cores" in told
    assert "not measured: astra-toolbox is not installed" in told
    assert "pip install astra-toolbox" in told


def test_help(cli: Cli) -> None:
    for arguments in ([], ["--help"]):
        done = cli(*arguments)
        assert (done.code, done.err) == (0, "")
        assert "reconstruct" in done.out
    for command in ("reconstruct", "simulate", "train", "compare", "convert", "inspect", "doctor", "methods", "models"):
        assert cli(command, "--help").code == 0


def test_convert(cli: Cli, here: Path) -> None:
    assert cli("convert", "truth.nii.gz", "truth.h5").code == 0
    np.testing.assert_array_equal(volume("truth.h5").data, volume("truth.nii.gz").data)


# What does not


def mended(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def nan(file: h5py.File) -> None:
    file["data"][0, 0, 0] = np.nan


def fewer_views(file: h5py.File) -> None:
    data = file["data"][()]
    del file["data"]
    file["data"] = data[:7]


def no_vectors(file: h5py.File) -> None:
    del file["acquisition/vectors"]


def no_data(file: h5py.File) -> None:
    del file["data"]


def edge_on(file: h5py.File) -> None:
    vectors = file["acquisition/vectors"]
    vectors[3, 6:9] = vectors[3, 0:3]


def pixels_in_metres(file: h5py.File) -> None:
    file["acquisition/vectors"][:, 6:9] *= 1e-3


def axis_off(file: h5py.File) -> None:
    vectors = file["acquisition/vectors"]
    vectors[:, 3:6] += 40 * vectors[:, 6:9]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nan, "1 NaN"),
        (fewer_views, "(view 12, row 5, column"),
        (no_vectors, "vectors"),
        (no_data, "data"),
        (edge_on, "view 3"),
        (pixels_in_metres, "is too small for its grid"),
        (axis_off, "columns off the detector of"),
    ],
)
def test_bad_scans(cli: Cli, here: Path, left: Left, change: Callable[[h5py.File], None], said: str) -> None:
    mended(here / "scan.h5", change)
    done = cli("reconstruct", "scan.h5", "out.nii.gz", *FBP)
    assert done.code == 2
    assert said in done.sentence
    assert left() == set()


@pytest.mark.parametrize("name", ["scan.h5", "truth.nii.gz"])
def test_truncated_and_foreign_files(cli: Cli, here: Path, left: Left, name: str) -> None:
    path, whole = here / name, (here / name).read_bytes()
    command = ["reconstruct", name, "out.nii.gz", *FBP] if name == "scan.h5" else ["simulate", name, "out.h5"]
    for content in (b"", whole[:-100], whole[: len(whole) // 2], whole[:20], b"hello world" * 50, bytes(3000)):
        path.write_bytes(content)
        done = cli(*command)
        assert done.code == 2
        assert name in done.sentence
        assert "defect" not in done.sentence
        assert left() == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reconstruct", "scan.h5", "o.nii.gz", "--time-budget", "soon"], "a time looks like 90s, 5m or 2h"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "--time-budget", "5m"], "method.budget of 'fbp' is not"),
        (["reconstruct", "scan.h5", "--config", "ct-parallel-fbp"], "Give an input and an output"),
        (["reconstruct", "no.h5", "o.nii.gz", *FBP], "no.h5"),
        (["reconstruct", "scan.h5", "o.nii.gz", "--config", "ct-paralel-fbp"], "did you mean 'ct-parallel-fbp'"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "method.filtr=hann"], "did you mean 'filter'"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "run.device=cuda:7"], "CUDA devices: use run.device=cpu"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "run.device=tpu"], "auto, cpu, cuda or cuda:N"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "models.prior=x"], "models.prior"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "grid.shape=[7,9,9]"], "5 rows, the grid 7 slices"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "grid.like=scan.nii"], "scan.nii"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "scan.views.start_deg=400"], "keeps no view"),
        (["reconstruct", "scan.h5", "o.nii.gz", *FBP, "scan.energy_kev=5"], "between 20 and 500"),
        (["reconstruct", "scan.h5", "o.xyz", *FBP], "no suffix that can be written"),
        (["reconstruct", "scan.h5", "nowhere/o.nii.gz", *FBP], "nowhere"),
        (["reconstruct", "truth.nii.gz", "o.nii.gz", *FBP], "recon3d simulate"),
        (["reconstruct", "scan.h5", "o.nii.gz", "--from", "no.recon.json"], "no.recon.json does not exist"),
        (["reconstruct", "scan.h5", "o.nii.gz", "--from", "truth.nii.gz"], "is not a record"),
        (["simulate", "scan.h5", "o.h5"], "holds a scan, not a volume"),
        (["simulate", "truth.nii.gz", "o.h5", "geometry.view=3"], "did you mean 'geometry.views'"),
        (["simulate", "truth.nii.gz", "o.h5", "geometry.views=0"], "geometry.views"),
        (["simulate", "truth.nii.gz", "o.h5", "-c", "ct-fan", "geometry.source_to_axis_mm=5"], "source_to_axis_mm"),
        (["simulate", "truth.nii.gz", "o.h5", "-c", "ct-parallel-fbp"], "recipe for `recon3d reconstruct`"),
        (["simulate", "truth.nii.gz", "o.png"], "no suffix that can be written"),
        (["simulate", "truth.nii.gz", "o.nii.gz"], "NIfTI"),
        (["compare", "scan.h5", "--reference", "truth.nii.gz"], "scan.h5 holds a scan"),
        (["inspect", "no.h5"], "no.h5"),
        (["models", "burn"], "burn"),
        (["models", "show"], "Missing argument 'name'"),
        (["models", "show", "nobody"], "nobody"),
        (["recnstruct"], "recnstruct"),
        (["simulate", "truth.nii.gz"], "Missing argument 'output'"),
        (["reconstruct", "--nonsense"], "--nonsense"),
        (["reconstruct", "scan.h5", "o.nii.gz", "--threads", "0"], "than or equal to 1: see `recon3d --help`."),
    ],
    ids=lambda value: " ".join(value)[:70] if isinstance(value, list) else "",
)
def test_one_sentence_and_code_two(cli: Cli, left: Left, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert said in done.sentence
    assert "defect" not in done.sentence
    assert left() == set()


def test_empty_and_broken_volumes(cli: Cli, here: Path, left: Left) -> None:
    truth = volume("truth.nii.gz")
    broken = truth.data.copy()
    broken[1, 2, 3] = np.nan
    save(truth.with_data(broken), "nan.nii.gz")
    done = cli("simulate", "nan.nii.gz", "o.h5")
    assert (done.code, "NaN" in done.sentence) == (2, True)
    scan = load("scan.h5")
    assert isinstance(scan, Scan)
    with h5py.File("scan.h5", "r+") as file:
        file["data"][...] = 0
        del file["calibration"].attrs["water_per_mm"]
    done = cli("reconstruct", "scan.h5", "o.nii.gz", *SIRT)
    assert done.code == 2
    assert "zero everywhere" in done.err
    assert left() == {"nan.nii.gz"}


def test_outputs_are_not_replaced_without_force(cli: Cli, here: Path) -> None:
    for name in ("o.nii.gz", "o.recon.json", "o.png"):
        (here / name).write_text("mine")
        done = cli("reconstruct", "scan.h5", "o.nii.gz", *FBP)
        assert (done.code, f"{name} exists already" in done.sentence) == (2, True)
        assert (here / name).read_text() == "mine"
        (here / name).unlink()
    before = (here / "scan.h5").read_bytes()
    assert cli("simulate", "truth.nii.gz", "scan.h5").code == 2
    assert (here / "scan.h5").read_bytes() == before
    (here / "o.nii.gz").write_text("mine")
    assert cli("reconstruct", "scan.h5", "o.nii.gz", *FBP, "--force").code == 0
    assert volume("o.nii.gz").shape == (5, 14, 14)
    (here / "folder.h5").mkdir()
    done = cli("simulate", "truth.nii.gz", "folder.h5", "--force")
    assert (done.code, "is a folder" in done.sentence) == (2, True)


def test_a_scan_may_stand_beside_a_picture_of_the_same_name(cli: Cli, here: Path) -> None:
    (here / "s.png").write_text("mine")
    assert cli("simulate", "truth.nii.gz", "s.h5", "geometry.views=3").code == 0


def test_not_enough_memory(cli: Cli, left: Left) -> None:
    done = cli("reconstruct", "scan.h5", "o.nii.gz", "--config", "ct-parallel-tv", "--max-memory", "1K")
    assert (done.code, "raise run.max_memory" in done.sentence) == (3, True)
    done = cli("reconstruct", "scan.h5", "o.nii.gz", *FBP, "grid.voxel_mm=[2.5, 0.00002, 0.00002]")
    assert (done.code, "MiB are allowed" in done.sentence) == (3, True)
    assert left() == set()


@pytest.mark.parametrize("which", [".h5", ".png", ".recon.json"])
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds out by /proc which file is flushed")
def test_a_full_disk_leaves_nothing(
    cli: Cli, here: Path, left: Left, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Whichever of the outputs no longer fits, none is left behind."""
    flush = os.fsync

    def full(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = os.readlink(f"/proc/self/fd/{number}")
        if path.endswith(which):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        flush(number)

    monkeypatch.setattr(os, "fsync", full)
    done = cli("reconstruct", "scan.h5", "o.h5", *FBP)
    assert (done.code, "The disk is full" in done.sentence) == (3, True)
    assert left() == set()


def test_protected_folders(cli: Cli, here: Path, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK
    )  # the tests may run as root, whom modes do not stop
    done = cli("reconstruct", "scan.h5", "o.nii.gz", *FBP)
    assert (done.code, "is protected" in done.sentence) == (2, True)
    assert left() == set()


def test_unexpected_faults_are_called_defects(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recon3d.methods import fbp

    def fault(*arguments: object, **settings: object) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr(fbp, "filtered_backprojection", fault)
    done = cli("reconstruct", "scan.h5", "o.nii.gz", *FBP)
    assert done.code == 2
    assert "unexpected ZeroDivisionError: by hand. This is a defect" in done.sentence
    with pytest.raises(ZeroDivisionError):
        cli("reconstruct", "scan.h5", "o.nii.gz", *FBP, "--debug")


def test_debug_shows_where_a_fault_came_from(cli: Cli, here: Path) -> None:
    done = cli("inspect", "no.h5", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("recon3d: ")


def test_a_cpu_only_scan_falls_back_from_auto_but_not_from_cuda(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with a GPU, "auto" must not fail for physics that have no GPU version yet."""
    from recon3d.runtime import plan

    monkeypatch.setattr(plan, "choose_device", lambda name: "cuda")
    assert cli("reconstruct", "scan.h5", "o.nii.gz", *FBP).code == 0
    assert json.loads((here / "o.recon.json").read_text())["plan"]["device"] == "cpu"
    done = cli("reconstruct", "scan.h5", "p.nii.gz", *FBP, "run.device=cuda")
    assert (done.code, "no CUDA device here" in done.sentence) == (2, True)


def test_memory_and_interrupts_from_below(cli: Cli, here: Path, left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    from recon3d.runtime import case

    faults: list[tuple[BaseException, int, str]] = [
        (MemoryError(), 3, "Out of memory, although"),  # after what was tried with less at a time
        (KeyboardInterrupt(), 130, "nothing was written"),
        (PermissionError(errno.EACCES, "Permission denied", "scan.h5"), 2, "Permission denied"),
        (ReconError("Said once."), 2, "Said once."),
    ]
    for fault, code, said in faults:

        def fail(*arguments: object, fault: BaseException = fault, **settings: object) -> None:
            raise fault

        monkeypatch.setattr(case, "reconstruct_in_slabs", fail)
        done = cli("reconstruct", "scan.h5", "o.nii.gz", *FBP)
        assert (done.code, said in done.err.splitlines()[-1]) == (code, True), done.err
    assert left() == set()


def test_interrupting_and_going_on(here: Path) -> None:
    """Ctrl-C ends a run with 130, one sentence and a checkpoint (tests/runtime/test_runner.py goes on from one)."""
    command = [sys.executable, "-m", "recon3d", "reconstruct", "scan.h5"]
    settings = ["--config", "ct-parallel-sirt", "--threads", "1", "run.checkpoint_minutes=0"]
    long = [*settings, "method.iterations=200000"]
    process = subprocess.Popen([*command, "o.h5", *long], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (here / "o.checkpoint").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    said = [line for line in err.splitlines() if line.startswith("recon3d: ")]
    assert len(said) == 1
    assert "Interrupted after iteration" in said[0]
    assert "Traceback" not in err
    assert {p.name for p in here.iterdir()} == {"scan.h5", "truth.nii.gz", "o.checkpoint"}


# Reports


def test_view_prints_the_report_and_adds_layers(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert cli("reconstruct", "scan.h5", "fbp.nii.gz", *FBP, "--preview").code == 0
    assert "Open the report" in (here / "fbp.preview.html").read_text() or not (here / "fbp.preview.html").exists()
    seen = cli("view", "fbp.nii.gz", "--no-open", "--layer", "reference=truth.nii.gz")
    assert (seen.code, seen.out.strip(), opened) == (0, "fbp.html", [])
    assert "Against the reference" in (here / "fbp.html").read_text()
    assert cli("view", "fbp.recon.json").code == 0
    assert opened == [(here / "fbp.html").as_uri()]
    assert "NAME=FILE" in cli("view", "fbp.nii.gz", "--layer", "truth.nii.gz").sentence


def test_compare_writes_a_page(cli: Cli, here: Path) -> None:
    for name, recipe in (("fbp", FBP), ("sirt", SIRT)):
        assert cli("reconstruct", "scan.h5", f"{name}.nii.gz", *recipe).code == 0
    assert cli("compare", "fbp.nii.gz", "sirt.nii.gz", "-r", "truth.nii.gz", "--html", "all.html").code == 0
    assert '"side": true' in (here / "all.html").read_text()
    record = json.loads((here / "sirt.recon.json").read_text())
    assert record["result"]["residual"] > 0
