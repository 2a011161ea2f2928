"""The typed configuration of a simulation: `recon3d simulate VOLUME SCAN --config ...`, one class per kind of scan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from recon3d.config import RunConfig, Section, apply_overrides, read_recipe, validate
from recon3d.errors import ConfigError
from recon3d.faults import did_you_mean


class GeometryConfig(Section):
    """A circular CT acquisition."""

    views: int = Field(180, ge=1, description="number of views")
    arc_deg: float | None = Field(
        None, gt=0, le=36000, description="angular range; 180 for parallel, else 360; a helix turns further"
    )
    start_deg: float = 0.0
    source_to_axis_mm: float | None = Field(None, gt=0, description="fan and cone beam")
    source_to_detector_mm: float | None = Field(None, gt=0, description="fan and cone beam")
    detector: Literal["flat", "curved"] | None = Field(None, description="fan and cone beam; flat by default")
    n_columns: int | None = Field(
        None, ge=1, description="detector pixels per row; enough to see the whole grid by default"
    )
    column_mm: float | None = Field(None, gt=0, description="detector pixel width; as fine as the voxels by default")
    n_rows: int | None = Field(None, ge=1, description="cone beam only; enough to see the whole grid by default")
    row_mm: float | None = Field(None, gt=0, description="cone beam only, height; as fine as the voxels by default")
    advance_mm: float | None = Field(None, description="cone beam only: along the axis per turn, for a helix")


class PhotonsConfig(Section):
    """Noise that is added to simulated CT data."""

    photons: float | None = Field(None, gt=0, description="unattenuated photons per detector pixel; none: no noise")


class SimulateConfig(Section):
    """A simulated acquisition: `recon3d simulate VOLUME SCAN --config ...`; each kind of scan adds its settings."""

    task: Literal["simulate"] = "simulate"
    description: str = ""
    kind: Literal["ct", "mri", "ct-series", "mri-series", "seismic"]
    noise: Section
    finer: int = Field(2, ge=1, description="how much finer than the volume the truth is represented; 1: inverse crime")
    units: str | None = Field(None, description="unit of the volume where its file does not say, e.g. HU or 1/mm")
    run: RunConfig = RunConfig()

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `recon3d.simulate` takes beside the noise."""


class SimulateCTConfig(SimulateConfig):
    """A simulated CT scan."""

    kind: Literal["ct"] = "ct"
    beam: Literal["parallel", "fan", "cone"] = "parallel"
    geometry: GeometryConfig = GeometryConfig()
    noise: PhotonsConfig = PhotonsConfig()
    water_per_mm: float = Field(0.0193, gt=0, description="attenuation of water, 70 keV by default")

    @property
    def settings(self) -> dict[str, Any]:
        chosen = self.model_dump(include={"kind", "beam", "water_per_mm"})
        return {**chosen, **self.geometry.model_dump(exclude_none=True)}


class SamplingConfig(Section):
    """Which columns of k-space are measured."""

    acceleration: float = Field(4.0, ge=1, description="all columns over those that are measured")
    centre_fraction: float = Field(0.08, gt=0, le=1, description="share of columns in the full centre")
    pattern: Literal["random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"] = "equispaced_fraction"


class SnrConfig(Section):
    """Noise that is added to simulated MRI data."""

    snr: float | None = Field(40.0, gt=0, description="bright tissue over the noise of one coil; null: no noise")


class SimulateMRIConfig(SimulateConfig):
    """A simulated multi-coil MRI scan of magnitudes, with a phase that is made up."""

    kind: Literal["mri"]
    coils: int = Field(8, ge=1, description="receive coils around the volume")
    sampling: SamplingConfig = SamplingConfig()
    noise: SnrConfig = SnrConfig()

    @property
    def settings(self) -> dict[str, Any]:
        return {"kind": self.kind, "coils": self.coils, **self.sampling.model_dump()}


class SeriesNoiseConfig(Section):
    """Noise that is added to a simulated CT series, stated once or not at all."""

    photons: float | None = Field(None, gt=0, description="unattenuated photons per detector pixel")
    noise_std: float | None = Field(None, gt=0, description="or Gaussian, as a share of the largest line integral")


class SimulateCTSeriesConfig(SimulateConfig):
    """A parallel-beam scan of a series: each view sees the frame of its instant."""

    kind: Literal["ct-series"]
    views_per_frame: int = Field(1, ge=1, description="views of each frame, one after the other")
    order: Literal["linear", "golden", "bit-reversed", "random"] = Field(
        "bit-reversed", description="of the views; bit-reversed takes a power of two of them"
    )
    water_per_mm: float = Field(0.0193, gt=0, description="attenuation of water, 70 keV by default")
    noise: SeriesNoiseConfig = SeriesNoiseConfig()

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_dump(include={"kind", "views_per_frame", "order", "water_per_mm"})


class SimulateMRISeriesConfig(SimulateConfig):
    """A multi-coil cine scan of a series of magnitudes, with a phase that is made up."""

    kind: Literal["mri-series"]
    coils: int = Field(8, ge=1, description="receive coils around the volume")
    sampling: Literal["cartesian", "radial"] = Field("cartesian", description="random columns, or golden-angle spokes")
    acceleration: float = Field(8.0, ge=1, description="Cartesian: all columns over those measured in a frame")
    centre_lines: int = Field(4, ge=0, description="Cartesian: columns in the middle that every frame measures")
    spokes: int = Field(8, ge=1, description="radial: of each frame")
    noise: SnrConfig = SnrConfig()

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_dump(include={"kind", "coils", "sampling", "acceleration", "centre_lines", "spokes"})


class TraceNoiseConfig(Section):
    """Noise that is added to simulated traces."""

    noise_share: float = Field(0.0, ge=0, description="root mean square of white noise, as a share of the traces'")


class SimulateSeismicConfig(SimulateConfig):
    """A complete seismic cube that loses traces."""

    kind: Literal["seismic"]
    mask: Literal["random", "regular", "gap", "lines", "block"] = Field("random", description="which traces go")
    missing: float = Field(0.5, gt=0, lt=1, description="share of traces that are missing")
    noise: TraceNoiseConfig = TraceNoiseConfig()

    @property
    def settings(self) -> dict[str, Any]:
        return self.model_dump(include={"kind", "mask", "missing"})


KINDS: dict[str, type[SimulateConfig]] = {
    "ct": SimulateCTConfig,
    "mri": SimulateMRIConfig,
    "ct-series": SimulateCTSeriesConfig,
    "mri-series": SimulateMRISeriesConfig,
    "seismic": SimulateSeismicConfig,
}


def read_simulation(config: str | Path | None, overrides: Sequence[str] = ()) -> SimulateConfig:
    """The validated configuration of a simulation from a recipe (or none) and overrides.

    Raises
    ------
    ConfigError
        With one clause per fault.
    """
    name, content = read_recipe(config) if config is not None else ("command line", {})
    content = apply_overrides(content, overrides)
    kind = str(content.get("kind", "ct"))
    if kind not in KINDS and content.get("task", "simulate") == "simulate":
        hint = did_you_mean(kind, KINDS)
        raise ConfigError(f"{name}: kind '{kind}' cannot be simulated{hint}: expected one of {', '.join(KINDS)}.")
    return validate(KINDS.get(kind, SimulateCTConfig), content, name)
