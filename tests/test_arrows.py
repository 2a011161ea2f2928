"""The import arrows of the design, read from the source: who may know whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEAVES = {"errors", "faults", "run"}
"""Modules of recon3d that everything may import."""

NOUNS = {"operators", "grid", "volume", "beams", "scan", "acquisitions", "noise", "problem"}
EVERYTHING = {
    *NOUNS, "solvers", "sampling", "sensing", "priors", "methods", "io", "preprocessing", "synthetic", "training",
    "evaluation", "tuning", "runtime", "report", "batch", "config", "cli", "", *LEAVES,
}  # fmt: skip

# Room -> rooms it may import, besides itself and the leaves. "" is `recon3d/__init__.py`.
ARROWS: dict[str, set[str]] = {
    "operators": set(),
    "errors": {"operators"},
    "faults": set(),
    "run": set(),
    "grid": {"operators"},
    "volume": {"grid", "operators"},
    "beams": {"grid", "volume", "operators"},
    "scan": {"grid", "volume", "operators"},
    "acquisitions": {"scan", "beams", "volume", "grid", "operators"},
    "noise": {"scan", "operators"},
    "problem": {"scan", "noise", "acquisitions", "volume", "grid", "operators"},
    "solvers": {"operators"},
    "sampling": {"operators"},
    "sensing": {"operators"},
    "priors": {"operators"},
    "methods": {"solvers", "sampling", "sensing", "priors", "problem", "volume", "beams", "grid", "operators"},
    "preprocessing": {"scan", "grid", "operators"},
    "io": {"volume", "scan", "acquisitions", "beams", "grid", "preprocessing", "operators"},
    "synthetic": {"scan", "problem", "volume", "grid", "operators", "config"},
    "evaluation": {"volume", "grid"},
    "report": {"volume", "grid", "evaluation"},
    "training": {"priors", "solvers", "synthetic", "io", "evaluation", "volume", "grid", "operators", "config"},
    "tuning": {"methods", "evaluation", "noise", "problem", "volume", "operators"},
    "runtime": EVERYTHING - {"batch", "cli"},
    "batch": EVERYTHING - {"cli"},
    "config": EVERYTHING,
    "cli": EVERYTHING,
    "": EVERYTHING,
    "__main__": EVERYTHING,
}


def room(module: str) -> str | None:
    """The room of a module name, or None for packages that are not ours."""
    parts = module.split(".")
    if parts[0] == "operators":
        return "operators"
    if parts[0] != "recon3d":
        return None
    if len(parts) == 1:
        return ""
    return parts[1]


def sources() -> list[Path]:
    return sorted(path for package in ("operators", "recon3d") for path in (ROOT / package).rglob("*.py"))


def imported(tree: ast.AST, module: str) -> set[str]:
    """Every module that a file names in an import, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level] if node.level else []
                base = ".".join([*package, *([base] if base else [])])
            # `from recon3d import io` names a module, `from recon3d import __version__` does not
            inner = base == "recon3d"
            names |= {f"{base}.{alias.name}" if inner and alias.name in ARROWS else base for alias in node.names}
    return names


def without_type_checking(tree: ast.Module) -> ast.Module:
    class Cut(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return node.orelse
            return self.generic_visit(node)

    return ast.fix_missing_locations(Cut().visit(tree))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    relative = path.relative_to(ROOT).with_suffix("")
    module = ".".join(relative.parts).removesuffix(".__init__")
    here = room(module)
    assert here in ARROWS, f"{module} stands in no room of the design: give it one"
    tree = without_type_checking(ast.parse(path.read_text(encoding="utf-8")))
    allowed = ARROWS[here] | {here} | (set() if here == "operators" else LEAVES)
    wrong = sorted(
        name for name in imported(tree, module) if (target := room(name)) is not None and target not in allowed
    )
    if here not in EVERYTHING - {""} or ARROWS[here] != EVERYTHING:
        wrong = [name for name in wrong if name != "recon3d"]  # the bare package: its version, its lazy names
    assert not wrong, f"{module} imports {', '.join(wrong)}; {here} may import {sorted(allowed)}"


def test_the_check_can_fail() -> None:
    tree = ast.parse("def f():\n    from recon3d.cli import main\n    import operators.linear as o\n")
    assert imported(tree, "recon3d.solvers.x") == {"recon3d.cli", "operators.linear"}
    relative = ast.parse("from ..cli import main\nfrom . import x\n")
    assert imported(relative, "recon3d.solvers.x") == {"recon3d.cli", "recon3d.solvers"}
