"""The site: it builds without warnings, its links lead somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_PICTURE = 150_000
FETCHED = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src"}


def hooks() -> object:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "scripts" / "docs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Links(HTMLParser):
    """What a page links to, what it fetches, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.add(str(given["href"]))
        if tag in FETCHED and given.get(FETCHED[tag]) and given.get("rel") != "canonical":
            self.fetched.add(str(given[FETCHED[tag]]))


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is missing: pip install 'recon3d[docs]'")
def test_the_site_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) > 25
    for path, page in pages.items():
        if path.name == "404.html":  # its paths are those of the host
            continue
        assert not [url for url in page.fetched if url.startswith(("http", "//"))], path
        for link in page.links:
            if link.startswith(("http", "mailto:")):
                continue
            target, _, anchor = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            found = found / "index.html" if found.is_dir() else found
            assert found.exists(), f"{path} links to {link}"
            if anchor and found in pages:
                assert anchor in pages[found].anchors, f"{path} links to {link}"


def test_pages_become_links_and_settings_tables() -> None:
    module = hooks()
    assert module.relative("ct.md", "tutorials") == "../ct.md"  # type: ignore[attr-defined]
    assert module.relative("tutorials/dicom.md", ".") == "tutorials/dicom.md"  # type: ignore[attr-defined]
    table = module.settings_table("tv")  # type: ignore[attr-defined]
    assert "| `weight` | `0.001` |" in table
    assert "(tuned from 1e-05 to 0.1)" in table


def test_every_page_that_is_named_exists() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"`docs/([\w/-]+\.md)`", page.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / name).exists(), f"{page.name} names docs/{name}"


def test_every_method_has_a_page() -> None:
    from recon3d.methods import _BUILT_IN

    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert [name for name in _BUILT_IN if f"`{name}`" not in text] == []


def test_pictures_are_small() -> None:
    assert [path.name for path in (ROOT / "docs" / "images").glob("*") if path.stat().st_size > MAX_PICTURE] == []
