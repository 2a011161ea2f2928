"""Import of published weights: recognise the network, fill in its card, write a model file as all others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from recon3d.errors import ModelError, OutputExistsError
from recon3d.faults import describe_faults
from recon3d.priors.cards import KINDS, BaseCard
from recon3d.priors.checkpoints import read_weights
from recon3d.priors.files import MAKERS, save_model, user_folder
from recon3d.priors.noise import sigma_at, vp_linear

Facts = dict[str, Any]
_SIGMAS = ("sigma_min", "sigma_max")


@dataclass(frozen=True)
class Layout:
    """A kind of published network.

    Parameters
    ----------
    assume : architecture, tensors, stem of the file name -> entries of the card that follow or are usual
    card : kind of card (`recon3d.priors.cards.KINDS`)
    inside : what stands before the names of the network in the model that its card makes
    """

    assume: Callable[[Facts, Mapping[str, Tensor], str], Facts]
    card: str = "denoiser"
    inside: str = "network."


@dataclass(frozen=True)
class Imported:
    """What `import_weights` did.

    Parameters
    ----------
    card : as written
    entry : the part of the file that was taken, "" for the whole
    ignored : names of tensors that are no part of the network
    assumed : entries of the card that nobody gave
    """

    path: Path
    card: BaseCard
    entry: str
    ignored: tuple[str, ...]
    assumed: Facts
    tensors: int
    numbers: int


def import_weights(
    path: str | Path,
    given: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    *,
    entry: str | None = None,
    overwrite: bool = False,
) -> Imported:
    """Write a published .pt, .pth, .ckpt or .safetensors file as a model of recon3d: safetensors with a card.

    Parameters
    ----------
    given : entries of the card (`recon3d.priors.cards.Card`), which win over those assumed; `architecture` and
        `coordinates` may be given in part
    output : by default NAME.safetensors in `recon3d.priors.files.user_folder`, where `recon3d models` lists it
    entry : the part of the file to take; averaged weights by default

    Raises
    ------
    ModelError
        When reading the file would run code, nothing in it fits, or the card lacks what cannot be assumed.
    OutputExistsError
        When the model is there already and `overwrite` is False.
    """
    path, given = Path(path), dict(given or {})
    weights = read_weights(path, given.pop("architecture", None), entry)
    layout = LAYOUTS.get(weights.architecture["kind"], Layout(lambda *_: {}))
    assumed = _general(path, weights.entry) | layout.assume(weights.architecture, weights.tensors, path.stem)
    assumed = {name: value for name, value in assumed.items() if name in KINDS[layout.card].model_fields}
    if "coordinates" in given:
        given["coordinates"] = {**assumed.get("coordinates", {}), **given["coordinates"]}
    content = {**assumed, **given, "kind": layout.card, "architecture": weights.architecture}
    if content.get("coordinates", {}).get("kind") == "blind":  # one noise level may be given by either name
        content |= {a: content[b] for a, b in (_SIGMAS, _SIGMAS[::-1]) if a not in content and b in content}
    card = _card(path, KINDS[layout.card], content)
    target = Path(output) if output is not None else user_folder() / f"{card.name}.safetensors"
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists already: give --force to replace it, or another name.")
    make, _ = MAKERS[card.kind]
    with torch.device("meta"):
        model = make(card)
    model.load_state_dict({layout.inside + name: tensor for name, tensor in weights.tensors.items()}, assign=True)
    card = save_model(target, card, model, dtype=None)
    numbers = sum(tensor.numel() for tensor in weights.tensors.values())
    unsaid = {name: value for name, value in assumed.items() if name not in given and name != "training"}
    return Imported(target, card, weights.entry, weights.ignored, unsaid, len(weights.tensors), numbers)


def _card(path: Path, kind: type[BaseCard], content: Facts) -> BaseCard:
    required = {name for name, field in kind.model_fields.items() if field.is_required()}
    if content.get("units") != "1":
        required |= {"offset"} & set(kind.model_fields)  # 0 is seldom right for HU, and nothing would tell
    missing = [name for name in kind.model_fields if name in required and name not in content]
    if missing:
        wanted = "; ".join(f"{name}: {HINTS.get(name, 'see docs/models.md')}" for name in missing)
        raise ModelError(
            f"{path.name} fits a network of kind {content['architecture']['kind']}, but its card needs what no file of "
            f"weights says. Give as NAME=VALUE or in a YAML file by --card: {wanted}."
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"The card does not do: {describe_faults(error, kind)}") from error


HINTS = {
    "patterns": "the sampling in training: [equispaced], [random], [equispaced, random], or [2d] (Calgary-Campinas, "
    "whose weights also need architecture.centred=false calibration_radius=18)",
    "acceleration": "[smallest, largest] acceleration in training, e.g. [3.5, 8.5]",
    "centre": "[smallest, largest] share of k-space that was fully sampled, e.g. [0.03, 0.1]",
    "coils": "[smallest, largest] number of coils in training",
    "modality": "CT, MRI, ultrasound, seismic or any",
    "units": "of the images, e.g. HU, or 1 for multiples of a typical value of the image",
    "scale": "units per normalised one, e.g. 2000 for HU -1000..1000 in 0..1",
    "offset": "units at normalised zero, e.g. -1000 for air in HU",
    "voxel_mm": "[smallest, largest] pixel side in training, or null where none is known",
    "sigma_min": "least noise it was trained for, in the normalised range",
    "sigma_max": "largest noise it was trained for, in the normalised range, e.g. 0.098 for 25 of 255",
}


def _general(path: Path, entry: str) -> Facts:
    """What any import may assume, and where the weights came from."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-"),
        "licence": "not stated",
        "sigma_data": 0.25,
        "training": {"imported": path.name, "sha256": digest, **({"entry": entry} if entry else {})},
    }


def _vp_sigmas() -> Facts:
    schedule = vp_linear()
    return {"sigma_min": sigma_at(schedule, 0), "sigma_max": sigma_at(schedule, 999)}


def _adm(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    """The two files of DDS are told by their shapes; both see images in 0..1 at times of the linear VP schedule."""
    facts: Facts = {"coordinates": {"kind": "vp"}, **_vp_sigmas()}
    facts["smallest_side"] = 2 ** len(architecture["channels"])
    facts["complex_image"] = architecture["image_channels"] == 2
    if architecture["channels"] == [256, 256, 512, 512, 1024, 1024] and architecture["blocks"] == 1:
        if architecture["image_channels"] == 1 and architecture["attention"] == [4]:
            facts |= {"modality": "CT", "orientation": "axial"}
            facts["summary"] = "ADM of DDS for axial CT slices of 256 x 256 (AAPM low-dose CT)"
        if architecture["image_channels"] == 2 and not architecture["attention"]:
            facts |= {"modality": "MRI", "units": "1"}
            facts["summary"] = "ADM of DDS for complex knee slices of 320 x 320 (fastMRI)"
    return facts


def _ncsnpp(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    """The range of noise is that of the table in the file; the files of DiffusionMBIR are told by their names."""
    sigmas = tensors["sigmas"]
    facts: Facts = {
        "coordinates": {"kind": "ve"},
        "sigma_min": round(float(sigmas.min()), 6),
        "sigma_max": round(float(sigmas.max()), 4),
        "smallest_side": 2 ** (len(architecture["channels"]) + 1),
        "complex_image": architecture["image_channels"] == 2,
    }
    if stem == "checkpoint_185":
        facts |= {"modality": "CT", "orientation": "axial"}
        facts["summary"] = "NCSN++ of DiffusionMBIR for axial CT slices of 256 x 256 (AAPM low-dose CT)"
    if stem == "checkpoint_95":
        facts |= {"modality": "MRI", "units": "1"}
        facts["summary"] = "NCSN++ of DiffusionMBIR for magnitude knee slices of 320 x 320 (fastMRI)"
    return facts


def _monai_unet(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    """A DDPM with MONAI's default schedule, which is the linear one."""
    facts = {"coordinates": {"kind": "vp"}, "spatial_dims": architecture["spatial_dims"], **_vp_sigmas()}
    return facts | {"smallest_side": max(16, 2 ** len(architecture["channels"]))}


def _dncnn(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    """DnCNN predicts the noise, FDnCNN (told sigma by a channel) the image; KAIR trained dncnn_N for N of 255."""
    if architecture["noise_map"]:
        return {"coordinates": {"kind": "noise_map"}}
    facts: Facts = {"coordinates": {"kind": "blind", "residual": True}}
    level = re.search(r"dncnn_(15|25|50)$", stem)
    if level is not None and (architecture["depth"], architecture["channels"]) == (17, 64):
        sigma = int(level[1]) / 255
        facts |= {"sigma_min": sigma, "sigma_max": sigma, "modality": "any", "units": "1", "scale": 1.0}
        facts |= {"voxel_mm": None, "licence": "MIT"}
        facts["summary"] = f"DnCNN of KAIR for grey photographs with noise of {level[1]} of 255"
    return facts


def _drunet(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    return {"coordinates": {"kind": "noise_map"}}


def _recurrent_varnet(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    """What the public toolkit trains with, whatever the data; how they were sampled stands in no file of weights."""
    if architecture["steps"] == 1:
        raise ModelError(
            f"{stem} has one block of weights, which its training used several times: give architecture.shared=true "
            "and architecture.steps=NUMBER from its configuration."
        )
    facts = {"modality": "MRI", "voxel_mm": None, "percentile": 0.99}
    pools = architecture["refinement"][1] if architecture["refinement"] else 2
    return facts | {"smallest_side": 2 ** (pools + 1), "summary": "RecurrentVarNet of the public toolkit DIRECT"}


def _fastmri_unet(architecture: Facts, tensors: Mapping[str, Tensor], stem: str) -> Facts:
    """Standardised slice by slice, so the scale before it does not matter."""
    facts = {"modality": "MRI", "voxel_mm": None, "smallest_side": 2 ** (architecture["pools"] + 1)}
    return facts | {"summary": "U-Net of fastMRI, from zero-filled to fully sampled magnitudes"}


LAYOUTS = {
    "recurrent_varnet": Layout(_recurrent_varnet, "reconstructor", ""),
    "unet_completion": Layout(_fastmri_unet, "reconstructor", ""),
    "adm": Layout(_adm),
    "ncsnpp": Layout(_ncsnpp),
    "monai_unet": Layout(_monai_unet),
    "drunet": Layout(_drunet),
    "dncnn": Layout(_dncnn),
}
"""By kind of architecture; one that is not here gets a denoiser's card with nothing assumed."""
