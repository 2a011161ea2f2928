"""Roles: which model stands for which role of a method, and whether it fits the scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon3d.errors import ConfigError, ModelError
from recon3d.grid import AffineGrid
from recon3d.methods.base import Method
from recon3d.priors import BaseCard, fit, list_models, load_model
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.reconstructor import sampling_misfits
from recon3d.problem import Problem


def models_for(
    method: Method, problem: Problem, given: Mapping[str, Any] | None = None, *, force: bool = False
) -> dict[str, Any]:
    """A model for each role of a method.

    Parameters
    ----------
    given : by role, a loaded model, the name of a known one, or its file; a role that is left out takes the first known
        model that fits the scan
    force : use a model that is given although it does not fit

    Raises
    ------
    ConfigError
        For a role that the method, with its settings, does not have.
    ModelError
        If a model does not fit (each misfit is named), or none does.
    """
    given = given or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"models maps roles to models, e.g. {{'prior': 'ct-axial'}}, got {given!r}.")
    strangers = sorted(set(given) - set(method.needed))
    if strangers:
        roles = ", ".join(method.needed) or "none"
        raise ConfigError(f"models.{strangers[0]}: method '{method.name}' has the roles: {roles}.")
    return {
        role: _model(role, purpose, method, problem, given.get(role, method.defaults.get(role)), force)
        for role, purpose in method.needed.items()
    }


def settled(
    method: Method, problem: Problem, given: Mapping[str, Any] | None = None, *, force: bool = False
) -> tuple[Method, dict[str, Any], str]:
    """The method that will run (another one where `method` chooses), its models, and the reason of a choice."""
    chosen, reason = method.settle(problem, given, force=force)
    if reason:  # a model that was given for a method that was not chosen is not missed
        given = {role: model for role, model in (given or {}).items() if role in chosen.needed}
    return chosen, models_for(chosen, problem, given, force=force), reason


def misfits(card: BaseCard, problem: Problem, method: Method | None = None) -> list[str]:
    """Every way in which the scan is unlike what the model was trained on; of its modality alone for a `method` that
    prepares what its models see."""
    if method is not None and method.prepares:
        return fit(card, modality=problem.kind or None)
    voxel_mm = problem.grid.voxel_mm if isinstance(problem.grid, AffineGrid) else None
    found = fit(card, modality=problem.kind or None, voxel_mm=voxel_mm, shape=problem.domain.shape)
    if card.spatial_dims != 2 and card.kind == "denoiser":
        found.append(f"the prior {card.name} denoises whole volumes, methods ask slice by slice")
    if card.complex_image != problem.domain.is_complex:
        kinds = {True: "complex", False: "real"}
        found.append(
            f"the prior {card.name} takes {kinds[card.complex_image]} images, "
            f"the scan makes {kinds[problem.domain.is_complex]} ones"
        )
    if isinstance(card, ReconstructorCard):
        found += sampling_misfits(card, problem)
    return found


def _model(role: str, purpose: str, method: Method, problem: Problem, given: Any, force: bool) -> Any:
    kind = method.kinds.get(role, "denoiser")
    if given is None:
        cards = [entry.card for entry in list_models() if entry.card is not None and entry.card.kind == kind]
        fitting = [card for card in cards if not misfits(card, problem, method)]
        if not fitting:
            told = [f"{card.name}: {misfits(card, problem, method)[0]}" for card in cards]
            reasons = "; ".join(told) or "none is installed"
            raise ModelError(
                f"No known model fits as {role} ({purpose}): {reasons}. Name one with models.{role}=NAME_OR_FILE."
            )
        given = fitting[0].name
    model = load_model(given, device=problem.A.device) if isinstance(given, str | Path) else given
    card = getattr(model, "card", None)
    if isinstance(card, BaseCard) and card.kind != kind:
        raise ModelError(f"models.{role} is for a {kind} ({purpose}), {card.name} is a {card.kind}: choose another.")
    wrong = misfits(card, problem, method) if isinstance(card, BaseCard) else []
    if wrong and not force:
        raise ModelError(f"{'; '.join(wrong)}. Choose another model, or give --force-prior.")
    return model
