"""The page that shows a run as it goes on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from recon3d.grid import AffineGrid
from recon3d.report.preview import finished_page, middle_slices_png, preview_page

pytestmark = pytest.mark.tiny


def test_the_picture_holds_the_middle_slices():
    image = np.random.default_rng(0).random((5, 7, 6)).astype(np.float32)
    image[2, 0, 0], image[2, 0, 1] = 9.0, -9.0
    seen = imread(io.BytesIO(middle_slices_png(image)), format="png")
    assert seen.shape == (7, 6 + 6 + 7 + 8)  # axial, coronal, sagittal
    assert (seen[0, 0], seen[0, 1]) == (1.0, 0.0)
    shown, wanted = seen[:7, :6].ravel(), image[2].ravel()
    assert np.corrcoef(np.argsort(np.argsort(shown)), np.argsort(np.argsort(wanted)))[0, 1] > 0.99
    series = np.stack([image * 0, image, image * 0]) * 1j
    assert middle_slices_png(series).startswith(b"\x89PNG")
    ramp = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 6, 7))  # brighter towards the head
    grid = AffineGrid.centred(ramp.shape, (4.0, 1.0, 1.0))
    turned = imread(io.BytesIO(middle_slices_png(ramp, grid)), format="png")
    assert turned.shape == (20, 7 + 7 + 6 + 8)
    assert (np.diff(turned[:, 12]) <= 0).all()
    assert turned[0, 12] > turned[-1, 12]
    big = imread(io.BytesIO(middle_slices_png(np.zeros((3, 700, 2)))), format="png")
    assert max(big.shape) <= 320 * 3 + 8


def test_the_page_says_how_far_it_is_and_refreshes():
    trace = [{"iteration": k + 1, "residual": 1 / (k + 1)} for k in range(3)]
    page = preview_page("Running <tv>", 3, 12, 4.2, trace, np.zeros((2, 3, 4)))
    assert "iteration 3 of 12" in page
    assert "25 %" in page
    assert 'http-equiv="refresh" content="3"' in page
    assert "data:image/png;base64," in page
    assert "Running &lt;tv&gt;" in page
    assert "Residual" in page
    assert "<img" not in preview_page("tv", 0, 0, 0.0, [], None)


def test_at_the_end_it_leads_to_the_report():
    page = finished_page("tv", 'a"b.html')
    assert 'content="1; url=a&quot;b.html"' in page
    assert 'href="a&quot;b.html"' in page
