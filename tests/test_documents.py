"""What README and tutorials say works: their files are written, their commands and Python run, on a small volume."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from recon3d.cli import main
from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.training.kinds import read_training
from recon3d.volume import Volume

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]
SHORT = {"geometry.views": "6", "method.iterations": "3", "method.steps": "2", "--frames": "8"}
NAMED = {"-tv": "iterations=3", "-sirt": "iterations=3", "-dds": "steps=2", "-wavelet": "iterations=2"}
"""Settings of a method that end it soon, by a part of the recipe's name."""
BLOCK = re.compile(
    r'(?<!<!-- not tested -->\n)^```(bash|sh|console|python|yaml)(?: title="([^"]+)")?\n(.*?)^```',
    re.MULTILINE | re.DOTALL,
)


def volume() -> Volume:
    rng = np.random.default_rng(0)
    data = np.full((4, 16, 16), -1000.0, np.float32)
    data[:, 2:14, 2:14] = 0.0
    data[:, 6:10, 6:12] = rng.uniform(200, 900, (4, 4, 6))
    return Volume(data, AffineGrid.centred((4, 16, 16), (2.0, 1.0, 1.0)), units="HU")


def files_named(text: str) -> set[str]:
    return set(re.findall(r"[\w./-]+\.nii(?:\.gz)?", text))


def blocks(text: str) -> list[tuple[str, str, str]]:
    """(language, title, content) of the blocks, but for those that follow the comment `<!-- not tested -->` or show a
    file of the tests."""
    return [found for found in BLOCK.findall(text) if "--8<--" not in found[2]]


def commands(block: str) -> list[list[str]]:
    """Every line that begins with `recon3d`, continued lines joined, comments cut."""
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["recon3d"]:
            found.append(words[1:])
    return found


def foreign(words: list[str]) -> list[str]:
    """The inputs that are files of some other source, which no test makes."""
    if words[0] not in ("simulate", "reconstruct", "inspect", "convert", "tune"):
        return []
    given = [words[1], *(words[words.index("--reference") + 1 :][:1] if "--reference" in words else [])]
    return [name for name in given if not Path(name).exists() and not name.startswith("-")]


def shortened(words: list[str]) -> list[str]:
    """The same command on fewer views, frames and iterations."""
    short = []
    for before, word in zip(["", *words], words, strict=False):
        key, equals, _ = word.partition("=")
        short.append(SHORT[before] if before in SHORT else f"{key}={SHORT[key]}" if equals and key in SHORT else word)
    if words[0] in ("reconstruct", "submit", "tune") and "--config" in words:
        recipe = words[words.index("--config") + 1]
        short += [f"method.{setting}" for name, setting in NAMED.items() if name in recipe]
    return short


def run(words: list[str], written: set[str], document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = f"`recon3d {' '.join(words)}` of {document.name} fails"
    makes_sense_of_any = words[0] in ("simulate", "inspect", "compare", "view", "convert")
    for name in files_named(" ".join(words)) - written:
        path = Path(name)
        if not path.is_absolute() and not path.exists() and makes_sense_of_any:
            path.parent.mkdir(parents=True, exist_ok=True)
            if words[0] not in ("simulate", "convert") or words[1] == name:
                save(volume(), path)
    if words[0] == "train" and words[1].endswith(".yaml"):
        read_training(words[1])
        return
    if words[0] in ("train", "batch", "view"):
        words = [*words, "--help"]
    capsys.readouterr()
    missing = foreign(words)
    code, said = main(shortened(words)), capsys.readouterr().err
    if missing:  # everything but the file is right
        assert re.search(f"(no file or folder|nothing at) {re.escape(missing[0])}\\.\n$", said), f"{shown}: {said}"
        return
    assert code == 0, f"{shown}: {said}"
    written |= files_named(" ".join(words))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_shown_runs(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written: set[str] = set()
    for language, title, content in blocks(document.read_text(encoding="utf-8")):
        if title:
            Path(title).write_text(content, encoding="utf-8")
        elif language == "python":
            if ".sgy" in content:
                pytest.importorskip("segyio", reason="SEG-Y needs the extra [seismic]")
            for name in files_named("\n".join(line for line in content.splitlines() if "load(" in line)):
                if not Path(name).exists():
                    Path(name).parent.mkdir(parents=True, exist_ok=True)
                    save(volume(), name)
            exec(compile(content, document.name, "exec"), {})  # the document is ours
        elif language != "yaml":
            for words in commands(content):
                run(words, written, document, capsys)


def test_documents_hold_what_is_looked_for() -> None:
    readme = blocks(DOCUMENTS[0].read_text(encoding="utf-8"))
    assert any(commands(content) for language, _, content in readme if language in ("bash", "sh"))
    assert any(language == "python" for language, _, _ in readme)
    assert len(DOCUMENTS) >= 9


def test_blocks_and_commands_are_found() -> None:
    text = "recon3d configs  # all\n$ recon3d simulate a.nii \\\n  b.h5 geometry.views=16\nls\n"
    assert commands(text) == [["configs"], ["simulate", "a.nii", "b.h5", "geometry.views=16"]]
    assert shortened(["simulate", "geometry.views=16"]) == ["simulate", "geometry.views=6"]
    assert shortened(["draw", "--frames", "64"]) == ["draw", "--frames", "8"]
    assert shortened(["tune", "a", "--config", "ct-parallel-tv"])[-1] == "method.iterations=3"
    assert blocks(f"```sh\n{text}```\n") == [("sh", "", text)]
    assert blocks('```yaml title="a.yaml"\nb: 1\n```\n') == [("yaml", "a.yaml", "b: 1\n")]
    assert blocks("<!-- not tested -->\n```bash\nrecon3d x\n```\n") == []
