"""Configurations tell every fault at once and survive being written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recon3d.config import (
    ReconstructConfig,
    apply_overrides,
    load_config,
    parse_bytes,
    read_recipe,
    recipes,
    validate,
)
from recon3d.errors import ConfigError
from recon3d.synthetic.config import read_simulation


def test_every_recipe_is_valid() -> None:
    found = recipes()
    assert {
        "ct-parallel-fbp",
        "ct-parallel-sirt",
        "ct-parallel-tv",
        "ct-fan-fbp",
        "ct-fan-tv",
        "ct-parallel",
        "ct-fan",
    } <= set(found)
    for name in found:
        _, content = read_recipe(name)
        assert content.get("description"), f"{name} says nothing about itself"
        if content["task"] == "reconstruct":
            load_config(ReconstructConfig, name)
        elif content["task"] == "simulate":
            read_simulation(name)


def test_every_fault_is_told_at_once_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "task: reconstruct\nmethod: {name: tv, iteration: 5, weight: -1}\nrun: {sed: 3, threads: 0, max_memory: lots}\n"
        "gird: {shape: [1, 2, 3]}\nscan: {views: {every: 0}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(ReconstructConfig, path)
    message = str(caught.value)
    for said in (
        "mine.yaml: run.sed is not a setting (did you mean 'run.seed'?)",
        "mine.yaml: gird is not a setting (did you mean 'grid'?)",
        "run.threads: should be greater than or equal to 1, got 0",
        "run.max_memory: a memory size looks like 4G or 500M, got 'lots'",
        "scan.views.every",
        "method.iteration of 'tv' is not a setting (did you mean 'iterations'?)",
        "method.weight of 'tv'",
    ):
        assert said in message, message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=tvv"], "Unknown method 'tvv' (did you mean 'tv'?)"),
        (["method=null"], "method"),
        (["grid.voxel_mm=[1, 2]"], "grid.voxel_mm: should be a valid number, got [1, 2]."),
        (["grid.voxel_mm=[1, x, y]"], "grid.voxel_mm: should be a valid number, got [1, 'x', 'y']."),
        (["grid.voxel_mm=2", "grid.shape=[1, 2, 3]"], "one of voxel_mm, shape and like"),
        (["scan.photons=10", "scan.noise_std=1"], "stated once, by photons or by noise_std"),
        (["scan.water_per_mm=1", "scan.energy_kev=70"], "stated once, by water_per_mm or by energy_kev"),
        (["run.max_memory=inf"], "memory size"),
        (["run.max_memory=-1G"], "memory size"),
        (["run.seed=half"], "run.seed"),
        (["run=5"], "run"),
        (["method.filter=box"], "filter"),
        (["scan.views..every=2"], "scan.views"),
        (["nonsense"], "looks like key.name=value"),
        (["=3"], "looks like key.name=value"),
        (["run.seed=[1"], "is not readable"),
        (["task=simulate"], "is a recipe for `recon3d simulate`"),
    ],
)
def test_bad_overrides(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(ReconstructConfig, "ct-parallel-fbp", overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "tuple[" not in str(caught.value)


def test_overrides_are_yaml_and_reach_any_depth() -> None:
    config = load_config(
        ReconstructConfig,
        "ct-parallel-tv",
        [
            "method.weight=1e-3",
            "grid.voxel_mm=[2, 1, 1]",
            "scan.views.every=3",
            "run.max_memory=4G",
            "scan.photons=1e5",
        ],
    )
    assert config.method.settings["weight"] in ("1e-3", 1e-3)
    assert config.grid.voxel_mm == (2.0, 1.0, 1.0)
    assert (config.scan.views.every, config.run.max_memory, config.scan.photons) == (3, "4G", 1e5)
    assert load_config(ReconstructConfig, "ct-parallel-tv", ["method=fbp"]).method.settings == {}
    assert load_config(ReconstructConfig, None, ["method=tv", "method.weight=0.1"]).method.settings == {"weight": 0.1}
    assert load_config(ReconstructConfig, None, ["method=sirt", "run.max_memory=1000000"]).run.max_memory == "1000000"


def test_overrides_leave_the_recipe_alone() -> None:
    content: dict[str, Any] = {"run": {"seed": 1}}
    assert apply_overrides(content, ["run.seed=2", "models.prior=x"]) == {"run": {"seed": 2}, "models": {"prior": "x"}}
    assert content == {"run": {"seed": 1}}


def test_names_of_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ct-parallel-fbp'"):
        load_config(ReconstructConfig, "ct-paralel-fbp")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(ReconstructConfig, tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="`recon3d simulate`"):
        load_config(ReconstructConfig, "ct-parallel")
    for name, text, said in [
        ("list.yaml", "- 1\n", "must hold 'key: value' lines, got list"),
        ("empty.yaml", "", "got nothing"),
        ("bad.yaml", "a: [1\n", "is not readable YAML"),
        ("object.yaml", "a: !!python/object/apply:os.getcwd []\n", "is not readable YAML"),
    ]:
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(ConfigError, match=said) as caught:
            load_config(ReconstructConfig, path)
        assert "\n" not in str(caught.value)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is not readable YAML"):
        load_config(ReconstructConfig, tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("text", "number"), [("4G", 2**32), ("500M", 500 * 2**20), ("1.5k", 1536), ("2GiB", 2**31), ("10 B", 10), ("7", 7)]
)
def test_memory_sizes(text: str, number: int) -> None:
    assert parse_bytes(text) == number


lengths = st.floats(0.01, 100, allow_nan=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    grid=st.one_of(
        st.just({}),
        st.fixed_dictionaries({"voxel_mm": st.one_of(lengths, st.tuples(lengths, lengths, lengths))}),
        st.fixed_dictionaries({"shape": st.tuples(*[st.integers(1, 999)] * 3)}),
    ),
    method=st.sampled_from(["fbp", "sirt", "cgls", "tv"]),
    seed=st.integers(0, 2**63),
    photons=st.none() | st.floats(1, 1e12),
    description=st.text(max_size=30),
    every=st.integers(1, 50),
)
def test_a_config_survives_being_written_and_read(
    tmp_path: Path, grid: dict[str, Any], method: str, seed: int, photons: float | None, description: str, every: int
) -> None:
    content = {
        "grid": grid,
        "method": {"name": method},
        "run": {"seed": seed},
        "scan": {"photons": photons, "views": {"every": every}},
        "description": description,
    }
    config = validate(ReconstructConfig, content, "test")
    path = tmp_path / "written.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert load_config(ReconstructConfig, path) == config
