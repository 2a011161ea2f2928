"""Policy tables: means, paired differences with the first policy, and the two kinds of similarity."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recon3d.evaluation.policy_table import PolicyScore, PolicyTable, similarity
from recon3d.grid import AffineGrid
from recon3d.report.policy_picture import policy_json, policy_picture
from recon3d.volume import Volume


def table() -> PolicyTable:
    """The policy "ads" is better than "random" by 0.1 on each of four volumes, which differ more among themselves."""
    return PolicyTable(
        [
            PolicyScore(policy, budget, f"v{k}", 10, 0.2 * k + gain + budget + 0.001 * k, 20.0 + k, 2.0, 200)
            for budget in (0.1, 0.25)
            for policy, gain in (("ads", 0.1), ("random", 0.0))
            for k in range(4)
        ]
    )


def test_pairs_remove_what_volumes_share() -> None:
    (pair,) = table().against_first(0.25)
    assert (pair.first, pair.second) == ("ads", "random")
    assert pair.difference.mean == pytest.approx(0.1)
    assert pair.difference.high - pair.difference.low < 1e-9
    wide = table().mean("ads", 0.25)
    assert wide.high - wide.low > 0.3
    assert pair.p_adjusted == pytest.approx(2 / 16)


def test_lines_and_files() -> None:
    rows = table().lines()
    assert [(row["budget"], row["policy"]) for row in rows] == [
        ("0.1", "ads"), ("0.1", "random"), ("0.25", "ads"), ("0.25", "random")
    ]  # fmt: skip
    assert rows[0]["ads minus it"] == ""
    assert rows[1]["ads minus it"].startswith("+0.1000 [+0.1000, +0.1000]")
    told = json.loads(policy_json(table()))
    assert len(told["scores"]) == 16
    assert policy_picture(table())[:8] == b"\x89PNG\r\n\x1a\n"


def test_similarity_is_of_magnitudes_or_of_values() -> None:
    grid = AffineGrid.centred((1, 32, 32), (1, 1, 1))
    x = np.random.default_rng(0).random((1, 32, 32)).astype(np.float32)
    turned = Volume(x * np.exp(1j).astype(np.complex64), grid)
    ssim, _ = similarity(turned, Volume(x, grid))
    assert ssim == pytest.approx(1, abs=1e-5)
    ssim, psnr = similarity(Volume(x + 0.5, grid), Volume(x, grid))
    assert ssim < 1
    assert np.isfinite(psnr)
