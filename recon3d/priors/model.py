"""Model: a trained denoiser with its card; saved and loaded as safetensors, found by name or path."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from operators.errors import ShapeError
from operators.normalization import Normalization
from recon3d.errors import ModelError
from recon3d.priors.cards import METADATA_KEY, Card, read_card, tensor_hash, verify
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.networks import build_network
from recon3d.priors.slices import apply_to_slices, fast_dtype

SHIPPED = Path(__file__).with_name("weights")
_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}


class Model:
    """A 2D denoiser with its card; applies itself slice by slice (`recon3d.priors.slices`).

    Parameters
    ----------
    network : D(x, sigma) on (batch, channel, y, x)
    micro_batch : slices per call; fixed for a run, because kernels may change with the batch
    half : bfloat16 where the device is fast at it; False computes in float32
    axis : -3, -2 or -1: the axis of a (z, y, x) volume that counts the slices
    """

    def __init__(
        self, card: Card, network: EDMDenoiser, *, micro_batch: int = 8, half: bool = True, axis: int = -3
    ) -> None:
        self.card = card
        self.network = network
        self.micro_batch = micro_batch
        self.axis = axis
        self.half = half
        self.compute_dtype = fast_dtype(self.device) if half else None

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def normalization(self) -> Normalization:
        return self.card.normalization

    def bytes_per_slice(self, shape: Sequence[int]) -> int:
        """About what one slice (y, x) takes inside the network, for memory plans."""
        return self.network.network.bytes_per_pixel * shape[0] * shape[1]  # type: ignore[operator, return-value]

    def configured(self, *, micro_batch: int | None = None, half: bool | None = None, axis: int | None = None) -> Model:
        """The same weights applied in another way."""
        return Model(
            self.card,
            self.network,
            micro_batch=self.micro_batch if micro_batch is None else micro_batch,
            half=self.half if half is None else half,
            axis=self.axis if axis is None else axis,
        )

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """E[x0 | x0 + sigma n] for x (..., z, y, x); see `recon3d.priors.denoiser.Denoiser`."""
        if x.is_complex() != self.card.complex_image:
            kind = "complex" if self.card.complex_image else "real"
            raise ShapeError(f"The prior {self.card.name} takes {kind} images, got {x.dtype}.")
        return apply_to_slices(
            self.network,
            x,
            sigma,
            cond,
            axis=self.axis,
            micro_batch=self.micro_batch,
            multiple=self.network.network.multiple,  # type: ignore[arg-type]
            compute_dtype=self.compute_dtype,
        )


def save_model(path: str | Path, card: Card, network: EDMDenoiser, dtype: torch.dtype | None = torch.float16) -> Card:
    """Write weights and card to one safetensors file, atomically; returns the card with its hash."""
    path = Path(path)
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    _check_finite(tensors, str(path))
    card = card.model_copy(update={"sha256": _hash(tensors)})
    write_atomically(path, save_tensors(tensors, metadata={METADATA_KEY: card.model_dump_json()}))
    return card


def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    *,
    micro_batch: int = 8,
    half: bool = True,
) -> Model:
    """A model by the name of a known one or by its file, verified.

    Raises
    ------
    ModelError
        Unknown name, damaged file, wrong hash, NaN weights, unknown architecture.
    """
    path = find_model(name_or_path)
    card = verify(path)
    try:
        tensors = load_tensors(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}; get the file again.") from error
    _check_finite(tensors, str(path))
    network = EDMDenoiser(build_network(card.architecture), card.sigma_data, card.mean)
    expected = network.state_dict()
    wrong = [name for name in expected if name not in tensors or tensors[name].shape != expected[name].shape]
    wrong += [name for name in tensors if name not in expected]
    if wrong:
        raise ModelError(f"{path} does not hold the network that its card describes: {wrong[0]} is missing or differs.")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(card, network, micro_batch=micro_batch, half=half)


@dataclass(frozen=True)
class Entry:
    """One line of the list of known models; `fault` says why a file cannot be used."""

    name: str
    path: Path
    card: Card | None
    fault: str = ""


def list_models() -> list[Entry]:
    """Shipped models, those of plug-ins, and those in the folders of RECON3D_MODELS; the first of a name wins."""
    found: dict[str, Entry] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.safetensors")):
            try:
                entry = Entry(path.stem, path, read_card(path))
            except ModelError as error:
                entry = Entry(path.stem, path, None, str(error))
            found.setdefault(entry.name, entry)
    return list(found.values())


def find_model(name_or_path: str | Path) -> Path:
    """The file of a known name, or the path itself when it is a file."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = {entry.name: entry.path for entry in list_models()}
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    names = ", ".join(sorted(known)) or "none"
    raise ModelError(f"Expected a model file or the name of a known model (known: {names}), got {name_or_path}.")


def _folders() -> list[Path]:
    """Plug-ins name a folder of models by an entry point of the group recon3d.models that returns its path."""
    folders = [SHIPPED]
    folders += [Path(point.load()()) for point in entry_points(group="recon3d.models")]
    folders += [Path(part) for part in os.environ.get("RECON3D_MODELS", "").split(os.pathsep) if part]
    return folders


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file under its name or nothing: temporary name, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    return tensor_hash(
        {
            name: (_NAMES[tensor.dtype], tuple(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
            for name, tensor in tensors.items()
        }
    )


def _check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"The tensor {name} for {where} has values that are not finite: the training went wrong.")
