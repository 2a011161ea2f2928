"""Configuration: what a run is told, as validated values; YAML recipes plus dotted overrides."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recon3d.errors import ConfigError
from recon3d.faults import describe_faults, did_you_mean


class Section(BaseModel):
    """A part of a configuration; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodConfig(BaseModel):
    """Which method, and its settings (checked by the method itself)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="a name that `recon3d methods` lists")

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class GridConfig(Section):
    """The output grid, where it is not the one the scan asks for."""

    voxel_mm: float | tuple[float, float, float] | None = Field(None, description="voxel edge, one number or (z, y, x)")
    shape: tuple[int, int, int] | None = Field(None, description="voxels (z, y, x) over the same extent")
    like: Path | None = Field(None, description="a volume file whose grid is taken")

    @model_validator(mode="after")
    def _one_of_them(self) -> GridConfig:
        if sum(value is not None for value in (self.voxel_mm, self.shape, self.like)) > 1:
            raise ValueError("the grid is stated by one of voxel_mm, shape and like")
        return self


class ViewsConfig(Section):
    """Which part of the measured views is used, for tests of sparse and limited angles."""

    every: int = Field(1, ge=1, description="keep every n-th view")
    start_deg: float | None = Field(None, description="first angle that is kept, relative to the first view")
    arc_deg: float | None = Field(None, gt=0, description="angular range that is kept")


class MRIConfig(Section):
    """How an MRI scan is encoded and its coils are calibrated, where its file does not decide."""

    coil_maps: Literal["espirit", "walsh", "low-resolution"] | None = Field(None, description="espirit by default")
    map_sets: Literal[1, 2] | None = Field(None, description="2 for an object that folds over (ESPIRiT)")
    crop: float | None = Field(None, ge=0, lt=1, description="eigenvalue at which ESPIRiT's maps end; 0.5 by default")
    coil_batch: int | None = Field(None, ge=1, description="coils transformed at a time; memory only")
    split_readout: bool = Field(False, description="a 3D scan as independent slices along its fully sampled readout")


class UltrasoundConfig(Section):
    """How an ultrasound scan is beamformed, where its file does not decide."""

    sound_speed_m_s: float | tuple[float, ...] | None = Field(None, description="one number, or one a layer")
    layer_tops_mm: tuple[float, ...] | None = Field(None, description="depths at which layers begin, the first at 0")
    f_number: float | None = Field(None, ge=0, description="depth over receive aperture; 1.5 by default, 0: all")
    window: Literal["boxcar", "tukey", "hann"] | None = Field(None, description="over that aperture; tukey by default")
    interpolation: Literal["linear", "cubic"] | None = Field(None, description="between samples; cubic by default")
    pulse_delay_s: float | None = Field(None, ge=0, description="from the beginning of a pulse to its echo's middle")
    fractional_bandwidth: float | None = Field(None, gt=0, le=2, description="of a filter about the centre frequency")
    element_width_mm: float | None = Field(None, ge=0, description="makes elements directive; 0: hears all around")
    attenuation_db_cm_mhz: float | None = Field(None, ge=0, description="of the medium; echoes get back what it took")


class SeriesConfig(Section):
    """When views were measured and how many make a frame, for scans of what moves."""

    view_s: float | None = Field(None, gt=0, description="seconds from one view to the next, if the file has no times")
    views_per_frame: int | None = Field(None, ge=1, description="views that follow one another and make a frame")
    frames: int | None = Field(None, ge=1, description="or how many frames there are to be")
    still: bool = Field(False, description="leave times aside: one image that explains all views")

    @model_validator(mode="after")
    def _one_of_them(self) -> SeriesConfig:
        if self.views_per_frame is not None and self.frames is not None:
            raise ValueError("frames are stated once, by views_per_frame or by frames")
        if self.still and any(v is not None for v in (self.view_s, self.views_per_frame, self.frames)):
            raise ValueError("a scan taken for still has no frames: leave view_s, views_per_frame and frames out")
        return self


class ImageConfig(Section):
    """A volume that is itself the measurement: to be denoised, or its slices made thinner or filled in."""

    slice_mm: float | None = Field(None, gt=0, description="pitch of the slices of the result; the volume's by default")
    thickness_mm: float | None = Field(None, gt=0, description="of the measured slices; with slice_mm their pitch")
    profile: Literal["box", "gaussian"] = Field("box", description="sensitivity across a thick slice")
    missing: tuple[int, ...] = Field((), description="slices that are not used, counted from 0")


class SeismicConfig(Section):
    """Which traces of a seismic cube are used, where its file does not decide."""

    mask: Path | None = Field(None, description=".npy (crossline, inline): 1 where a trace was recorded, 0 elsewhere")


class ScanConfig(Section):
    """What is known of the scan beyond its file."""

    water_per_mm: float | None = Field(None, gt=0, description="attenuation of water; makes the output HU")
    energy_kev: float | None = Field(None, gt=0, description="effective energy, from which water's attenuation follows")
    photons: float | None = Field(None, gt=0, description="unattenuated photons per detector pixel")
    noise_std: float | None = Field(None, gt=0, description="standard deviation of the noise in the data")
    support: str | None = Field(None, description="field-of-view, or a mask file: where the object can be")
    views: ViewsConfig = ViewsConfig()
    series: SeriesConfig = SeriesConfig()
    mri: MRIConfig = MRIConfig()
    ultrasound: UltrasoundConfig = UltrasoundConfig()
    seismic: SeismicConfig = SeismicConfig()
    image: ImageConfig | None = Field(None, description="restore a volume (DICOM, NIfTI) instead of a scan")

    @model_validator(mode="after")
    def _one_calibration(self) -> ScanConfig:
        if self.water_per_mm is not None and self.energy_kev is not None:
            raise ValueError("water is stated once, by water_per_mm or by energy_kev")
        if self.photons is not None and self.noise_std is not None:
            raise ValueError("the noise is stated once, by photons or by noise_std")
        if self.image is not None:
            others = self.model_dump(exclude={"image", "noise_std", "support"}, exclude_defaults=True)
            if others:
                raise ValueError(f"{next(iter(others))} is for measurements, not for a volume with scan.image")
        return self


class PreprocessConfig(Section):
    """What is done to CT projections before they are reconstructed; each step is told in the record."""

    centre: Literal["file", "auto"] | float = Field("file", description="column of the rotation axis, or auto")
    tilt: Literal["ignore", "check", "correct"] = Field("ignore", description="of the axis on the detector")
    repeated: Literal["keep", "average", "drop"] = Field("keep", description="views at the same angle")
    stripes: Literal["none", "narrow", "all"] = Field("none", description="which rings are removed")
    stripe_snr: float = Field(3.0, gt=0, description="how far a stripe stands out of the noise")
    stripe_widths: tuple[int, int] = Field((51, 21), description="median filters in columns, for wide and narrow ones")
    hardening: tuple[float, ...] | None = Field(None, description="c1, c2 ... of the beam hardening polynomial")
    half_turn: bool = Field(False, description="join opposite views of a full turn")
    truncation: Literal["tell", "extend", "refuse"] = Field("tell", description="an object wider than the detector")


class EvidenceConfig(Section):
    """What lies beside the result so that it can be judged: of a trained model's, and of traces held out."""

    classical: str = Field("auto", description="a method without a model, auto, or none")
    residual: bool = Field(True, description="the misfit to the data, as an image")
    null_space: bool = Field(True, description="the part of the image that the data do not determine")
    hold_out: float = Field(0, ge=0, le=0.5, description="share of seismic traces hidden in a second run, and scored")
    hold_out_side: int = Field(1, ge=1, description="traces along a side of the squares that are hidden")


class RunConfig(Section):
    """Where and how a run works."""

    seed: int = Field(0, ge=0)
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    backend: Literal["auto", "numba", "astra"] = Field("auto", description="CT projector; the plan says which and why")
    threads: int | None = Field(None, ge=1, description="CPU threads; the cores allotted to the process by default")
    max_memory: str | None = Field(None, description="limit such as 4G; the free memory by default")
    max_gpu_memory: str | None = Field(None, description="limit on a GPU; its free memory by default")
    micro_batch: int = Field(8, ge=1, description="slices a network sees at once")
    checkpoint_minutes: float = Field(2.0, ge=0, description="minutes between checkpoints; 0 writes one each iteration")

    @field_validator("max_memory", "max_gpu_memory", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int | float) else value

    @field_validator("max_memory", "max_gpu_memory")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse_bytes(value)
        return value


class ReconstructConfig(Section):
    """A reconstruction: `recon3d reconstruct INPUT OUTPUT --config ...`."""

    task: Literal["reconstruct"] = "reconstruct"
    description: str = ""
    source: str | dict[str, Any] | None = Field(None, description="how to read an array file: a name or a mapping")
    read: dict[str, Any] = Field(default_factory=dict, description="options of the file's format, e.g. prewhiten")
    scan: ScanConfig = ScanConfig()
    preprocess: PreprocessConfig | None = Field(None, description="steps on CT projections; none by default")
    grid: GridConfig = GridConfig()
    method: MethodConfig
    models: dict[str, str] = Field(default_factory=dict, description="role -> shipped model name or file")
    force_prior: bool = Field(False, description="go on although a model does not fit the scan")
    complex: bool = Field(False, description="write a complex image as it is, not its magnitude")
    phase: bool = Field(False, description="write the phase of a complex image, in radians, to STEM.phase too")
    evidence: EvidenceConfig = EvidenceConfig()
    run: RunConfig = RunConfig()


C = TypeVar("C", bound=BaseModel)


def parse_bytes(text: str) -> int:
    """``"4G"`` -> 4 * 2**30; units K, M, G and T, or plain bytes."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    plain = text.strip().upper().removesuffix("B").removesuffix("I")
    factor = units.get(plain[-1:], 1)
    try:
        value = float(plain[:-1] if plain[-1:] in units else plain) * factor
    except ValueError:
        raise ValueError(f"a memory size looks like 4G or 500M, got '{text}'") from None
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"a memory size is positive, got '{text}'")
    return int(value)


def config_folder() -> Path:
    """Where the recipes lie: beside the packages in a checkout, else where the installation put them."""
    checkout = Path(__file__).resolve().parent.parent / "configs"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share" / "recon3d" / "configs"


def recipes() -> dict[str, Path]:
    """All recipes by name."""
    return {path.stem: path for path in sorted(config_folder().glob("*.yaml"))}


def read_recipe(config: str | Path) -> tuple[str, dict[str, Any]]:
    """The YAML of a recipe name or a path, with the name by which messages call it."""
    path = Path(config)
    if path.suffix not in (".yaml", ".yml"):
        known = recipes()
        if str(config) not in known:
            hint = did_you_mean(str(config), known)
            raise ConfigError(f"Unknown recipe '{config}'{hint}: `recon3d configs` lists them, or give a .yaml file.")
        path = known[str(config)]
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"Configuration {path} does not exist: give a .yaml file or a name from `recon3d configs`."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"Configuration {path} is not readable YAML: {reason}.") from error
    if not isinstance(content, dict):
        came = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"Configuration {path} must hold 'key: value' lines, got {came}.")
    return path.name, content


def apply_overrides(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The content with dotted ``key=value`` overrides; values are YAML, so ``0.1``, ``[1, 2]`` and ``null`` work."""
    result: dict[str, Any] = _copy(content)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"An override looks like key.name=value, got '{text}'.")
        here = result
        *parents, last = key.strip().split(".")
        for part in parents:
            inner = here.get(part)
            if not isinstance(inner, dict):
                inner = here[part] = {} if inner is None or part not in here else {"name": inner}
            here = inner
        try:
            here[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"The value of override '{text}' is not readable: {' '.join(str(error).split())}."
            ) from error
    return result


def load_config(kind: type[C], config: str | Path | None, overrides: Sequence[str] = ()) -> C:
    """A validated configuration from a recipe and overrides; every fault is told at once.

    Raises
    ------
    ConfigError
        With one clause per fault and the nearest valid name.
    """
    name, content = read_recipe(config) if config is not None else ("command line", {})
    return validate(kind, apply_overrides(content, overrides), name)


def validate(kind: type[C], content: Mapping[str, Any], name: str) -> C:
    """A configuration of that kind from plain values, its method's settings included in the check."""
    wanted = kind.model_fields["task"].default
    task = content.get("task", wanted)
    if task != wanted:
        raise ConfigError(f"{name} is a recipe for `recon3d {task}`, not for `recon3d {wanted}`.")
    content = dict(content)
    if isinstance(content.get("method"), str):
        content["method"] = {"name": content["method"]}
    faults = []
    result = None
    try:
        result = kind(**content)
    except ValidationError as error:
        faults.append(describe_faults(error, kind, f"{name}: {{}}"))
    method = content.get("method")
    if kind is ReconstructConfig and isinstance(method, dict) and isinstance(method.get("name"), str):
        from recon3d.methods import make_method

        try:
            make_method(method["name"], {k: v for k, v in method.items() if k != "name"})
        except ConfigError as error:
            faults.append(str(error))
    if faults or result is None:
        raise ConfigError(" ".join(faults))
    return result


def _copy(content: Any) -> Any:
    return {k: _copy(v) for k, v in content.items()} if isinstance(content, Mapping) else content
