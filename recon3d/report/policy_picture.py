"""Similarity against budget: one line per policy with intervals over volumes; and the table as JSON."""

from __future__ import annotations

import io
import json

import numpy as np

from recon3d.evaluation.policy_table import PolicyTable

INK, PAPER = "#222222", "#ffffff"


def policy_json(table: PolicyTable) -> str:
    """Every score, then the means."""
    return json.dumps(table.to_dict(), indent=1) + "\n"


def policy_picture(table: PolicyTable) -> bytes:
    """A PNG of mean SSIM against the budget, with 95 % intervals of the mean over volumes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=120, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    order = np.argsort(table.budgets)
    budgets = [table.budgets[k] for k in order]
    shares = all(budget < 1 for budget in budgets)
    for policy in table.policies:
        means = [table.mean(policy, budget) for budget in budgets]
        places = [100 * budget if shares else budget for budget in budgets]
        half = [m.high - m.mean if np.isfinite(m.high) else 0.0 for m in means]
        axes.errorbar(places, [m.mean for m in means], yerr=half, marker="o", capsize=3, linewidth=1.6, label=policy)
    axes.set_xlabel("units measured, %" if shares else "units measured")
    axes.set_ylabel("SSIM, mean over volumes")
    count = max(len(table.of(policy, budget)) for policy in table.policies for budget in budgets)
    axes.set_title(f"{count} volumes, 95 % intervals of the mean", fontsize=10, color=INK)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
