"""Mappings come from a dict, a file or a name, and their faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from recon3d.errors import InputError
from recon3d.io.mapping import check_keys, load_mapping, mapping_names


@pytest.mark.parametrize("name", mapping_names())
def test_every_shipped_mapping_reads(name: str) -> None:
    mapping = load_mapping(name)
    assert {"kind", "axes"} <= set(mapping)


def test_unknown_keys_get_the_nearest_one() -> None:
    check_keys("grid", {"shape": 1}, ("shape", "voxel_mm"))
    with pytest.raises(InputError, match=r"in grid: 'shpe' \(did you mean 'shape'\?\); 'zz' \(known: shape\)"):
        check_keys("grid", {"shpe": 1, "zz": 2}, ("shape",))


def test_mappings_by_name_and_file(tmp_path: Path) -> None:
    assert {"helsinki", "helsinki-image", "data-exchange"} <= set(mapping_names())
    (tmp_path / "m.yaml").write_text(
        "kind: ct\naxes: [view, row, column]\ngeometry: {angles: {arc: 180}, column_pitch: 1e-1}\n"
    )
    mapping = load_mapping(tmp_path / "m.yaml")
    assert mapping["axes"] == ["view", "row", "column"]
    assert load_mapping(mapping) == mapping
    with pytest.raises(InputError, match=r"did you mean 'helsinki'\?"):
        load_mapping("helsinky")
    with pytest.raises(InputError, match="cannot be read"):
        load_mapping(tmp_path / "no.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,\nb: 2")
    with pytest.raises(InputError, match=r"not valid YAML \(line 2\)"):
        load_mapping(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="holds no keys"):
        load_mapping(tmp_path / "list.yaml")


def test_the_documented_mapping_holds_known_keys_only() -> None:
    """The commented examples of docs/formats.md name every key, and no key that does not exist."""
    import yaml

    from recon3d.io.mapped import KEYS

    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    examples = [yaml.safe_load(block) for block in blocks if block.startswith("kind:")]
    assert [example["kind"] for example in examples] == ["ct", "ultrasound"]
    assert {key for example in examples for key in example} | {"acquisition"} == set(KEYS)
