"""The recipes of containers name files that exist and commands that the product has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recon3d.config import recipes

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ["Dockerfile", "recon3d.def"]


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_copied_exists(name: str) -> None:
    text = (ROOT / "containers" / name).read_text()
    if name == "Dockerfile":
        copied = [word for line in re.findall(r"^COPY (.*)", text, re.MULTILINE) for word in line.split()[:-1]]
    else:
        section = text.partition("%files\n")[2].partition("\n\n")[0]
        copied = [line.split()[0] for line in section.splitlines()]
    assert {"operators", "recon3d", "configs", "setup.cfg"} <= set(copied)
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.parametrize("name", RECIPES)
def test_commands_are_those_of_the_readme(name: str) -> None:
    text, readme = (ROOT / "containers" / name).read_text(), (ROOT / "README.md").read_text()
    commands = re.findall(r"recon3d (simulate|reconstruct|compare) ", text)
    assert commands[-3:] == ["simulate", "reconstruct", "compare"]
    used = set(re.findall(r"--config (\S+)", text))
    assert used <= set(recipes())
    assert {"ct-parallel", "ct-parallel-tv"} <= used & set(re.findall(r"--config (\S+)", readme))
