"""Configurations of simulations: one class per kind of scan, whose settings the simulator takes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from operators.mri.sampling import PATTERNS
from recon3d.errors import ConfigError
from recon3d.synthetic.config import SamplingConfig, SimulateCTConfig, SimulateMRIConfig, read_simulation


def test_simulations_are_told_apart_by_their_kind() -> None:
    ct = read_simulation("ct-parallel", ["geometry.views=16", "noise.photons=null"])
    assert isinstance(ct, SimulateCTConfig)
    assert (ct.settings["kind"], ct.settings["views"], ct.noise.photons) == ("ct", 16, None)
    mri = read_simulation("mri-cartesian", ["sampling.acceleration=8", "noise.snr=null", "coils=4"])
    assert isinstance(mri, SimulateMRIConfig)
    assert (mri.settings["acceleration"], mri.settings["coils"], mri.noise.snr) == (8, 4, None)
    patterns = SamplingConfig.model_fields["pattern"].annotation
    assert get_args(patterns) == PATTERNS


@pytest.mark.parametrize(
    ("recipe", "override", "said"),
    [
        ("mri-cartesian", "geometry.views=3", "geometry is not a setting; expected one of"),
        ("mri-cartesian", "sampling.aceleration=3", "did you mean 'sampling.acceleration'?"),
        ("mri-cartesian", "noise.photons=3", "noise.photons is not a setting; expected one of snr"),
        ("mri-cartesian", "sampling.pattern=radial", "sampling.pattern"),
        ("ct-parallel", "coils=3", "coils is not a setting"),
        ("ct-parallel", "kind=mrt", "kind 'mrt' cannot be simulated (did you mean 'mri'?): expected one of ct, mri, "),
        ("ct-parallel", "kind=[1]", "cannot be simulated"),
    ],
)
def test_faults_of_a_simulation_name_what_its_kind_takes(recipe: str, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_simulation(recipe, [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_recipe_it_is_ct() -> None:
    assert read_simulation(None, ["geometry.views=3"]).settings["views"] == 3


def test_a_recipe_of_another_command_is_told() -> None:
    with pytest.raises(ConfigError, match="is a recipe for `recon3d reconstruct`, not for `recon3d simulate`"):
        read_simulation("ct-parallel-fbp")


def test_a_file_without_a_task_is_for_the_command_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "scan.yaml"
    path.write_text("geometry: {views: 7}\n")
    assert read_simulation(path).settings["views"] == 7
