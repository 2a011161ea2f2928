"""Partially separable series: f_t = sum_k psi_tk L_k with Psi = U Z, its exact block solves and its splitting.

Iskender, Klasky, Bresler, "RED-PSM", IEEE Trans. Comput. Imaging 10 (2024) 832; Liang, ISBI 2007. Sums of squares carry
no factor 1/2, as there: |A L Psi^T - y|^2 + beta/2 |L Psi^T - T|^2 + xi |L|^2 + chi |Psi|^2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.reduce import inner, norm
from operators.series import frame_normals, subspace
from recon3d.solvers.cg import conjugate_gradient

__all__ = ["Factors", "Prox", "Splitting", "basis_step", "hermite_matrix", "latent_step", "misfit"]

Prox = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(F + gamma, f, gamma) of some frames -> their new f."""
FRAMES_AT_ONCE = 8
"""Frames of a product that are formed together."""


def hermite_matrix(times: Sequence[float] | Tensor, knots: int, span: tuple[float, float] | None = None) -> Tensor:
    """Cubic Hermite interpolation from equispaced knots, with tangents by differences: rows (time, knot), float64.

    Parameters
    ----------
    times : any times, not only those of frames
    knots : at least two
    span : times of the first and last knot; by default those of `times`
    """
    t = torch.as_tensor(times, dtype=torch.float64)
    first, last = span or (float(t.min()), float(t.max()))
    if knots < 2 or not last > first:
        raise ValueError(f"Interpolation needs two knots and two instants, got {knots} knots from {first} to {last} s.")
    at = ((t - first) / (last - first)).clamp(0, 1) * (knots - 1)
    i = at.floor().clamp(max=knots - 2).long()
    u = (at - i).unsqueeze(1)
    slope = torch.zeros(knots, knots, dtype=torch.float64)  # tangent times the distance of knots
    inside = torch.arange(1, knots - 1)
    slope[inside, inside + 1], slope[inside, inside - 1] = 0.5, -0.5
    slope[0, 0], slope[0, 1], slope[-1, -2], slope[-1, -1] = -1, 1, -1, 1
    value = torch.eye(knots, dtype=torch.float64)
    return (
        (1 - 3 * u**2 + 2 * u**3) * value[i]
        + (u - 2 * u**2 + u**3) * slope[i]
        + (3 * u**2 - 2 * u**3) * value[i + 1]
        + (u**3 - u**2) * slope[i + 1]
    )


@dataclass(frozen=True, eq=False)
class Factors:
    """A series in its factors.

    Parameters
    ----------
    basis : L, (basis, z, y, x)
    latent : Z, (knot, basis), double precision
    interpolator : U, (t, knot), double precision
    """

    basis: Tensor
    latent: Tensor
    interpolator: Tensor

    @property
    def psi(self) -> Tensor:
        """Time functions (t, basis), in the precision of the basis images."""
        psi = self.interpolator.to(self.latent.dtype) @ self.latent
        return psi.to(self.basis.dtype if psi.is_complex() else self.basis.real.dtype)

    def frames(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Frames start to stop of the series."""
        psi = self.psi[start:stop].to(self.basis.dtype)
        return (psi @ self.basis.flatten(1)).reshape(len(psi), *self.basis.shape[1:])

    def at(self, interpolator: Tensor) -> Tensor:
        """The series at other times: `interpolator` is `hermite_matrix(times, knots, span)` for those."""
        return replace(self, interpolator=interpolator).frames()

    def change_from(self, other: Factors) -> float:
        """|F - F'| / |F| of the two series."""
        squared = difference = 0.0
        for a in range(0, len(self.interpolator), FRAMES_AT_ONCE):
            F = self.frames(a, a + FRAMES_AT_ONCE)
            squared += float(norm(F)) ** 2
            difference += float(norm(F - other.frames(a, a + FRAMES_AT_ONCE))) ** 2
        return (difference / squared) ** 0.5 if squared else 0.0

    def orthonormal(self) -> Factors:
        """The same series with orthonormal time functions; one that hangs on the others becomes zero."""
        psi = self.interpolator.to(self.latent.dtype) @ self.latent
        squared, V = torch.linalg.eigh(psi.mH @ psi)
        length = squared.clamp(min=0).sqrt()
        sound = length > 1e-9 * length.max()
        inverse = torch.where(sound, 1 / torch.where(sound, length, 1.0), 0.0)
        turn = (V * length).mH.to(self.basis.dtype)
        basis = torch.tensordot(turn, self.basis, dims=([1], [0]))
        return Factors(basis, self.latent @ (V * inverse), self.interpolator)


def basis_step(
    A: LinearOperator,
    y: Any,
    factors: Factors,
    *,
    beta: float = 0.0,
    target: Tensor | None = None,
    xi: float = 0.0,
    steps: int = 10,
    rtol: float = 1e-6,
) -> Factors:
    """The basis images for given time functions, by conjugate gradients from the last ones.

    Parameters
    ----------
    target : T conj(Psi), (basis, z, y, x), where the series is to be near T with weight beta/2
    """
    B = subspace(A, factors.psi)
    psi = factors.psi.to(factors.basis.dtype)
    coupling = beta * (psi.mT @ psi.conj()) + 2 * xi * torch.eye(psi.shape[1], dtype=psi.dtype, device=psi.device)

    def normal(L: Tensor) -> Tensor:
        image = B.gram(L).mul_(2)
        return image.add_(torch.tensordot(coupling.mT, L, dims=([1], [0]))) if beta or xi else image

    right = B.H(y).mul_(2)
    if target is not None:
        right.add_(target, alpha=beta)
    solved = conjugate_gradient(normal, right, factors.basis, max_steps=steps, rtol=rtol).x
    return replace(factors, basis=solved)


def latent_step(
    A: LinearOperator,
    y: Any,
    factors: Factors,
    *,
    beta: float = 0.0,
    target: Tensor | None = None,
    chi: float = 0.0,
) -> Factors:
    """The time functions for given basis images: a dense least-squares problem with knots x basis unknowns.

    Parameters
    ----------
    target : L^H T_t for each frame, (t, basis), where the series is to be near T with weight beta/2
    """
    U = factors.interpolator
    H, b = (2 * part for part in frame_normals(A, factors.basis, y))
    K = H.shape[-1]
    eye = torch.eye(K, dtype=H.dtype, device=H.device)
    if beta and target is not None:
        H = H + beta * _gram(factors.basis).to(H.dtype)
        b = b + beta * target.to(b.dtype)
    H = H + 2 * chi * eye
    if not factors.latent.is_complex():
        H, b = H.real, b.real
    U = U.to(H.dtype)
    d = U.shape[1]
    N = torch.einsum("ta,tc,tkl->akcl", U, U, H).reshape(d * K, d * K)
    right = torch.einsum("ta,tk->ak", U, b).reshape(d * K)
    Z = factors.latent.reshape(d * K)
    missing = right - N @ Z
    L, failed = torch.linalg.cholesky_ex(N)
    if bool(failed):  # a basis image without energy: its time function stays as it is
        ridge = 1e-10 * float(N.diagonal().abs().max()) or 1.0
        L = torch.linalg.cholesky(N + ridge * torch.eye(d * K, dtype=N.dtype, device=N.device))
    Z = Z + torch.cholesky_solve(missing[:, None], L)[:, 0]
    return replace(factors, latent=Z.reshape(d, K))


def misfit(A: LinearOperator, y: Any, factors: Factors) -> float:
    """|A F - y| / |y|."""
    return float(norm(subspace(A, factors.psi)(factors.basis) - y)) / (float(norm(y)) or 1.0)


def _gram(basis: Tensor) -> Tensor:
    """L^H L in double precision."""
    K = len(basis)
    wide = torch.complex128 if basis.is_complex() else torch.float64
    G = torch.zeros(K, K, dtype=wide, device=basis.device)
    for k in range(K):
        for m in range(k, K):
            G[k, m] = inner(basis[k], basis[m]).to(wide)
            G[m, k] = G[k, m].conj()
    return G


class Splitting:
    """ADMM for min |A F - y|^2 + R(f) + xi |L|^2 + chi |Psi|^2 with F = L Psi^T = f: exact solves of both factors.

    The factors, the free series `f` and the scaled dual `gamma` (both (t, z, y, x)) are all it keeps, and all it needs
    to go on. `residuals` are those of the last sweep: "primal" |F - f|/|f|, "dual" |f - f_old|/|gamma|,
    "data" |A F - y|/|y|, "change" |F - F_old|/|F|.

    Parameters
    ----------
    A, y : operator on a series, and data
    factors : start
    beta : weight of the coupling, in units of A^H A; `balance` changes it
    xi, chi : weights of |L|^2 and |Psi|^2
    cg_steps : conjugate gradient steps of each solve for the basis images
    """

    def __init__(
        self,
        A: LinearOperator,
        y: Any,
        factors: Factors,
        *,
        beta: float,
        xi: float = 0.0,
        chi: float = 0.0,
        cg_steps: int = 8,
    ) -> None:
        self.A, self.y, self.factors = A, y, factors
        self.beta, self.xi, self.chi, self.cg_steps = beta, xi, chi, cg_steps
        self.f = _series(factors)
        self.gamma = torch.zeros_like(self.f)
        self.residuals: dict[str, float] = {}

    @property
    def state(self) -> dict[str, Any]:
        """What the next sweep starts from."""
        return {
            "x": self.f, "gamma": self.gamma, "basis": self.factors.basis, "latent": self.factors.latent,
            "beta": self.beta,
        }  # fmt: skip

    @state.setter
    def state(self, kept: dict[str, Any]) -> None:
        self.f, self.gamma, self.beta = kept["x"], kept["gamma"], float(kept["beta"])
        self.factors = replace(self.factors, basis=kept["basis"], latent=kept["latent"])

    def solve_factors(self) -> None:
        """Both factors of the series that fits the data and is near T = f - gamma."""
        weights = {"beta": self.beta}
        basis_target = self.along_time(self.factors.psi.to(self.f.dtype).conj())
        self.factors = basis_step(
            self.A, self.y, self.factors, target=basis_target, xi=self.xi, steps=self.cg_steps, **weights
        )
        frame_target = self.along_space(self.factors.basis)
        factors = latent_step(self.A, self.y, self.factors, target=frame_target, chi=self.chi, **weights)
        self.factors = factors.orthonormal()

    def gradients(self, factors: Factors) -> dict[str, Tensor]:
        """Gradients with respect to the "basis" (conjugate cogradient times two) and the "latent" of
        |A F - y|^2 + beta/2 |F - T|^2 + xi |L|^2 + chi |Psi|^2, T = f - gamma."""
        basis, psi = factors.basis, factors.psi.to(factors.basis.dtype)
        B = subspace(self.A, factors.psi)
        of_basis = B.H(B(basis) - self.y).mul_(2).add_(basis, alpha=2 * self.xi)
        coupling = torch.tensordot(psi.mH @ psi, basis, dims=([1], [0])) - self.along_time(psi.conj())
        of_basis.add_(coupling, alpha=self.beta)
        H, b = frame_normals(self.A, basis, self.y)
        wide = psi.to(H.dtype)
        of_psi = 2 * ((H @ wide.unsqueeze(-1))[..., 0] - b) + 2 * self.chi * wide
        of_psi = of_psi + self.beta * (wide @ _gram(basis).to(H.dtype).mT - self.along_space(basis).to(H.dtype))
        of_latent = factors.interpolator.to(H.dtype).mT @ of_psi
        return {"basis": of_basis, "latent": of_latent if factors.latent.is_complex() else of_latent.real}

    def sweep(self, prox: Prox, solve: Callable[[], None] | None = None) -> None:
        """Factors, then f, then the dual.

        Parameters
        ----------
        prox : see `Prox`
        solve : what solves the factors, `solve_factors` by default
        """
        before = self.factors
        (solve or self.solve_factors)()
        squared = dict.fromkeys(("F", "F - f", "f", "f - old", "gamma", "F - old"), 0.0)
        for a in range(0, len(self.f), FRAMES_AT_ONCE):
            b = a + FRAMES_AT_ONCE
            F = self.factors.frames(a, b)
            squared["F"] += float(norm(F)) ** 2
            squared["F - old"] += float(norm(F - before.frames(a, b))) ** 2
            raised = self.gamma[a:b] + F
            new = prox(raised, self.f[a:b], self.gamma[a:b])
            squared["f - old"] += float(norm(new - self.f[a:b])) ** 2
            squared["F - f"] += float(norm(F - new)) ** 2
            self.f[a:b] = new
            self.gamma[a:b] = raised.sub_(new)
            squared["f"] += float(norm(new)) ** 2
            squared["gamma"] += float(norm(self.gamma[a:b])) ** 2
        length = {name: value**0.5 for name, value in squared.items()}
        self.residuals = {
            "primal": length["F - f"] / (length["f"] or 1.0),
            "dual": length["f - old"] / (length["gamma"] or length["f"] or 1.0),
            "data": misfit(self.A, self.y, self.factors),
            "change": length["F - old"] / (length["F"] or 1.0),
        }

    def balance(self, ratio: float = 10.0, step: float = 2.0) -> None:
        """Make beta larger where F and f lie apart, smaller where f still moves (Boyd et al. 2011, section 3.4.1)."""
        primal, dual = self.residuals["primal"], self.residuals["dual"]
        factor = step if primal > ratio * dual else 1 / step if dual > ratio * primal else 1.0
        if factor != 1.0:
            self.beta *= factor
            self.gamma /= factor

    def along_time(self, psi: Tensor) -> Tensor:
        """T psi, (basis, z, y, x)."""
        total = torch.zeros_like(self.factors.basis)
        for a in range(0, len(self.f), FRAMES_AT_ONCE):
            T = (self.f[a : a + FRAMES_AT_ONCE] - self.gamma[a : a + FRAMES_AT_ONCE]).flatten(1)
            total.add_((psi[a : a + FRAMES_AT_ONCE].mT @ T).reshape(total.shape))
        return total

    def along_space(self, basis: Tensor) -> Tensor:
        """L^H T_t, (t, basis)."""
        flat = basis.flatten(1)
        rows = []
        for a in range(0, len(self.f), FRAMES_AT_ONCE):
            T = (self.f[a : a + FRAMES_AT_ONCE] - self.gamma[a : a + FRAMES_AT_ONCE]).flatten(1)
            rows.append(T @ flat.mH)
        return torch.cat(rows)


def _series(factors: Factors) -> Tensor:
    frames = torch.empty(
        (len(factors.interpolator), *factors.basis.shape[1:]), dtype=factors.basis.dtype, device=factors.basis.device
    )
    for a in range(0, len(frames), FRAMES_AT_ONCE):
        frames[a : a + FRAMES_AT_ONCE] = factors.frames(a, a + FRAMES_AT_ONCE)
    return frames
