"""`recon3d models`: what was imported is listed, shown and verified as what is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from recon3d.cli import main
from recon3d.priors.networks import build_network


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECON3D_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    torch.manual_seed(0)
    torch.save({"state_dict": build_network({"kind": "dncnn", "depth": 3, "channels": 4}).state_dict()}, "walnut.ckpt")
    Path("card.yaml").write_text(
        "modality: CT\nunits: 1/mm\nscale: 0.072\noffset: 0\nvoxel_mm: [0.2, 0.3]\nsigma_min: 0.01\nsigma_max: 0.05\n"
        "summary: walnuts\n"
    )
    return tmp_path


def test_import_list_show_verify(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", "walnut.ckpt", "licence=CC0-1.0", "--card", "card.yaml"]) == 0
    told = capsys.readouterr().out
    for words in (
        "imported as walnut",
        "6 tensors, 225 numbers, all of them",
        "kind         blind",
        "home/recon3d/models",
    ):
        assert words in told
    assert "CC0" not in told  # what was given is not told as assumed
    assert main(["models"]) == 0
    assert "walnuts" in capsys.readouterr().out
    assert main(["models", "show", "walnut", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["licence"], card["scale"], card["training"]["imported"]) == ("CC0-1.0", 0.072, "walnut.ckpt")
    assert main(["models", "verify", "walnut"]) == 0
    assert card["sha256"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["walnut.ckpt"], "modality: CT, MRI"),
        (["walnut.ckpt", "--card", "card.json"], "takes a .yaml file"),
        (["walnut.ckpt", "--card", "other.yaml"], "other.yaml does not exist"),
        (["walnut.ckpt", "--card", "card.yaml", "--entry", "model"], "no named tensors in 'model'"),
        (["walnut.ckpt", "--card", "card.yaml", "architecture.kind=unet2d"], "looks like unet2d"),
        (["nothing.pt"], "nothing.pt"),
        (["card.yaml"], "not a readable file of weights"),
    ],
)
def test_one_sentence_and_code_two(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["models", "import", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "defect" not in told
    assert not (here / "home").exists()
