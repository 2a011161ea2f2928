from __future__ import annotations

import torch

from recon3d.solvers.null_space import least_squares_change, undetermined

SHAPE = (2, 3, 4)


def test_parts_of_an_image_by_singular_value(random, dense_operator) -> None:
    """Every component keeps damping / (s^2 + damping); the null space is kept whole, and the parts add up."""
    matrix, x, damping = random(6, 12), random(*SHAPE, seed=1), 0.3
    A = dense_operator(matrix, SHAPE)
    found = undetermined(A, x, damping=damping, max_steps=30)
    _, s, rows = torch.linalg.svd(matrix, full_matrices=True)
    share = damping / (torch.cat([s, torch.zeros(6, dtype=s.dtype)]) ** 2 + damping)
    expected = ((x.flatten(1) @ rows.T) * share) @ rows
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-3, atol=2e-3)
    blind = random(2, 6, seed=2) @ rows[6:]
    torch.testing.assert_close(undetermined(A, blind.reshape(SHAPE), damping=damping).flatten(1), blind)


def test_a_complete_image_has_nothing_to_hide_and_a_wrong_one_is_corrected(random, dense_operator) -> None:
    matrix, x, wrong = random(30, 12), random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    A = dense_operator(matrix, SHAPE)
    assert float(undetermined(A, x, damping=1e-6, max_steps=30).norm()) < 1e-2 * float(x.norm())
    change = least_squares_change(A, A(x), wrong, damping=1e-9, max_steps=30)
    torch.testing.assert_close(wrong + change, x, rtol=1e-3, atol=5e-3)
    assert float(least_squares_change(A, A(x), x, damping=1e-9).norm()) == 0.0
