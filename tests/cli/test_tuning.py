"""`recon3d tune`: from a scan and a recipe to a tuned recipe that runs; one sentence for every fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Cli = Callable[..., Any]
SIRT = ("--config", "ct-parallel-sirt", "scan.photons=1e4")


def test_a_reference_chooses_and_the_recipe_runs(cli: Cli, here: Path, left: Callable[[], set[str]]) -> None:
    done = cli("tune", "scan.h5", "tuned.yaml", *SIRT, "-r", "truth.nii.gz")
    assert (done.code, done.err) == (0, "")
    assert left() == {"tuned.yaml"}
    text = (here / "tuned.yaml").read_text()
    assert text.startswith("# Tuned by recon3d: iterations=")
    assert "on slices 2 to 2 of scan.h5, against truth.nii.gz" in text
    recipe = yaml.safe_load(text)
    assert recipe["method"]["name"] == "sirt"
    assert isinstance(recipe["method"]["iterations"], int)
    assert float(recipe["scan"]["photons"]) == 1e4
    chosen = f"iterations={recipe['method']['iterations']} "
    scores = {line.split()[0] + " ": float(line.split()[2]) for line in done.out.splitlines() if "PSNR" in line}
    assert scores[chosen] == max(scores.values())
    assert cli("reconstruct", "scan.h5", "out.nii.gz", "--config", "tuned.yaml").code == 0
    done = cli("tune", "scan.h5", "tuned.yaml", *SIRT, "-r", "truth.nii.gz")
    assert (done.code, "exists already" in done.sentence) == (2, True)


def test_without_a_reference_the_noise_chooses(cli: Cli, here: Path) -> None:
    done = cli("tune", "scan.h5", "tuned.yaml", *SIRT, "--slices", "1:3", "-q")
    assert done.code == 0
    assert done.out.startswith("tuned.yaml: iterations=")
    assert "on slices 1 to 2 of scan.h5, by the discrepancy principle" in done.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tuned.txt", *SIRT), "give a name that ends in .yaml, got tuned.txt"),
        (("t.yaml", "--config", "ct-parallel-fbp"), "Method 'fbp' declares no setting to tune"),
        (("t.yaml", *SIRT, "--free", "relaxation"), "'relaxation' is not declared as tunable by method 'sirt'"),
        (("t.yaml", *SIRT, "--slices", "3:9"), "--slices takes FIRST:END within 0:5, got 3:9"),
        (("t.yaml", *SIRT, "--slices", "a"), "--slices takes a number or FIRST:END, e.g. 7:11, got 'a'"),
        (("t.yaml", *SIRT, "-r", "scan.h5"), "must be a volume of the result's shape (5, 14, 14) (z, y, x)"),
        (("t.yaml", "--config", "cine-lps", "--free", "sparse", "--free", "low_rank"), "choose one of them"),
    ],
)
def test_faults(cli: Cli, here: Path, left: Callable[[], set[str]], arguments: tuple[str, ...], sentence: str) -> None:
    done = cli("tune", "scan.h5", *arguments)
    assert (done.code, sentence in done.sentence) == (2, True), done.err
    assert left() == set()
