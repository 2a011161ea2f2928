"""Charts hold what was handed in: one curve per slab, no number that is none."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from recon3d.report.charts import convergence, line_chart

pytestmark = pytest.mark.tiny


def test_one_chart_per_quantity_and_one_curve_per_slab():
    trace = [{"iteration": k % 3 + 1, "residual": 1 / (k + 1), "note": "x"} for k in range(6)]
    trace += [{"iteration": 4, "residual": math.nan}]
    [(name, last, svg)] = convergence(trace)
    assert (name, last) == ("residual", "0.167")
    assert svg.count("<polyline") == 2
    assert "nan" not in svg
    assert convergence(trace[:1]) == []


def test_scales_follow_the_values():
    wide = line_chart("loss", [[(k, 10.0**-k) for k in range(5)]])
    assert "logarithmic" in wide
    heights = [float(p.split(",")[1]) for p in ElementTree.fromstring(wide).find("polyline").get("points").split()]
    steps = [b - a for a, b in pairwise(heights)]
    assert max(steps) - min(steps) < 0.3  # a geometric decay is a line
    narrow = line_chart("loss", [[(1, -1.0), (2, 3.0)]])
    assert "logarithmic" not in narrow
    assert "\N{MINUS SIGN}1" in narrow
    assert ElementTree.fromstring(line_chart("flat", [[(1, 2.0)]])) is not None


def test_names_are_text():
    chart = ElementTree.fromstring(line_chart('<b onload="x">', [[(1, 2.0), (2, 1.0)]]))
    assert chart.get("aria-label").startswith('<b onload="x"> over 2 iterations')
