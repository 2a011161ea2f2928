"""What the README says works: its commands and its five lines of Python are executed, on a small volume."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from recon3d.cli import main
from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.volume import Volume

README = Path(__file__).resolve().parent.parent / "README.md"
SHORT = {"geometry.views": "6", "method.iterations": "3", "method.steps": "2"}


@pytest.fixture
def readme() -> str:
    if not README.exists():
        pytest.skip("README.md is not written yet")
    return README.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Code blocks of a language; one that follows the comment `<!-- not tested -->` is left out."""
    return re.findall(rf"(?<!<!-- not tested -->\n)^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def volume() -> Volume:
    rng = np.random.default_rng(0)
    data = np.full((4, 16, 16), -1000.0, np.float32)
    data[:, 2:14, 2:14] = 0.0
    data[:, 6:10, 6:12] = rng.uniform(200, 900, (4, 4, 6))
    return Volume(data, AffineGrid.centred((4, 16, 16), (2.0, 1.0, 1.0)), units="HU")


def files_named(text: str) -> set[str]:
    return set(re.findall(r"[\w./-]+\.nii(?:\.gz)?", text))


def commands(text: str) -> list[list[str]]:
    """Every line that begins with `recon3d`, continued lines joined, comments cut."""
    found = []
    for block in blocks(text, "(?:bash|sh|console)"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["recon3d"]:
                found.append(words[1:])
    return found


def foreign(words: list[str]) -> bool:
    """Whether the input is a file of some other source, which no test makes."""
    return words[0] in ("simulate", "reconstruct", "inspect", "convert") and not Path(words[1]).exists()


def shortened(words: list[str]) -> list[str]:
    """The same command on fewer views and iterations."""
    short = []
    for word in words:
        key, equals, _ = word.partition("=")
        short.append(f"{key}={SHORT[key]}" if equals and key in SHORT else word)
    if words[0] == "reconstruct" and any(name in " ".join(words) for name in ("-tv", "-sirt")):
        short.append("method.iterations=3")
    if words[0] == "reconstruct" and "-dds" in " ".join(words):
        short.append("method.steps=2")
    return short


def test_the_commands_run(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written: set[str] = set()
    lines = commands(readme)
    assert lines, "the README shows no recon3d command in a bash block"
    for words in lines:
        for name in files_named(" ".join(words)) - written:
            path = Path(name)
            if not path.is_absolute() and not path.exists() and words[0] in ("simulate", "inspect", "compare", "view"):
                path.parent.mkdir(parents=True, exist_ok=True)
                if words[0] != "simulate" or words[1] == name:
                    save(volume(), path)
        if words[0] in ("train", "batch", "view"):
            words = [*words, "--help"]
        code, shown = main(shortened(words)), f"`recon3d {' '.join(words)}` of README.md fails"
        if foreign(words):  # everything but the file is right
            assert capsys.readouterr().err.endswith(f"There is no file or folder {words[1]}.\n"), shown
            continue
        assert code == 0, shown
        written |= files_named(" ".join(words))


def test_the_python_lines_run(readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(readme, "python")
    assert found, "the README shows no Python"
    for code in found:
        for name in files_named("\n".join(line for line in code.splitlines() if "load(" in line)):
            if not Path(name).exists():
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                save(volume(), name)
        exec(compile(code, "README.md", "exec"), {})  # the README is ours


def test_blocks_and_commands_are_found() -> None:
    text = "```bash\nrecon3d configs  # all\n$ recon3d simulate a.nii \\\n  b.h5 geometry.views=16\nls\n```\n"
    assert commands(text) == [["configs"], ["simulate", "a.nii", "b.h5", "geometry.views=16"]]
    assert shortened(["simulate", "geometry.views=16"]) == ["simulate", "geometry.views=6"]
    assert blocks("<!-- not tested -->\n```bash\nrecon3d x\n```\n", "bash") == []
