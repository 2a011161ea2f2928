"""Active sampling from the command line: one scan end to end, and policies compared on two; every fault a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.files import save_model
from recon3d.priors.networks import build_network
from recon3d.synthetic.mri import scan_mri
from recon3d.volume import Volume

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two complete scans of discs, and an untrained prior, which knows that images are small."""
    folder = tmp_path_factory.mktemp("policies")
    architecture = {"kind": "unet2d", "channels": [8, 16], "patch": 1, "image_channels": 2, "embedding": 16}
    torch.manual_seed(0)
    card = Card(
        name="untrained", modality="MRI", units="1", scale=2.0, sigma_min=0.01, sigma_max=5.0, sigma_data=0.2,
        voxel_mm=(0.5, 4.0), complex_image=True, architecture=architecture, licence="none",
    )  # fmt: skip
    save_model(folder / "prior.safetensors", card, EDMDenoiser(build_network(architecture), 0.2))
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    for k, radius in enumerate((0.5, 0.7)):
        disc = ((y**2 + x**2) < radius**2).astype(np.complex64)[None]
        scan, _ = scan_mri(Volume(disc, AffineGrid.centred((1, 64, 64), (4, 1, 1))), (32, 32), coils=2, seed=k)
        save(scan, folder / f"disc{k}.h5")
    return folder


QUICK = ("method.steps=4", "method.particles=2", "method.budget=8")


def test_one_scan_end_to_end(study: Path, cli: Cli, tmp_path: Path) -> None:
    prior = f"models.prior={study / 'prior.safetensors'}"
    done = cli("reconstruct", study / "disc0.h5", tmp_path / "out.nii.gz", "-c", "mri-active", prior, *QUICK)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out.recon.json").read_text())
    order = record["acquisition"]["order"]
    assert len({unit for _, _, unit in order}) == len(order) == 8
    assert record["trace"][-1]["measured"] == 8
    page = (tmp_path / "out.html").read_text()
    assert "8 of 32 units (kx) were measured, 2 before the first step." in page
    assert "data:image/png;base64" in page
    for beside in ("uncertainty", "sample-1", "sample-2"):
        assert nibabel.load(tmp_path / f"out.{beside}.nii.gz").shape == (32, 32, 1)


def test_policies_are_compared(study: Path, cli: Cli, tmp_path: Path) -> None:
    settings = [f"models.prior={study / 'prior.safetensors'}", *QUICK[:2]]
    options = [part for text in settings for part in ("--set", text)]
    scans = (study / "disc0.h5", study / "disc1.h5")
    written = (tmp_path / "table.json", tmp_path / "picture.png")
    options += ["-o", str(written[0]), "-o", str(written[1])]
    done = cli(
        "evaluate", *scans, "--policies", "ads,equispaced", "--budget", "0.25", *options
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "ads minus it" in done.out
    told = json.loads(written[0].read_text())
    assert [s["measured"] for s in told["scores"]] == [8] * 4
    assert written[1].read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policies", "best"), "There is no policy 'best'"),
        (("--policies", "ads", "-o", "table.csv"), "has no suffix for policies"),
        (("--policies", "ads", "-c", "mri-tv"), "the recipe has tv"),
        ((), "and last the folder of references"),
    ],
)
def test_faults(study: Path, cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli("evaluate", study / "disc0.h5", *arguments)
    assert done.code == 2
    assert said in done.sentence
