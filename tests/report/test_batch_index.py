"""The index of a batch: hostile names stay text, links lead to reports."""

from __future__ import annotations

from recon3d.report.batch_index import batch_page

HOSTILE = "<script>alert(1)</script>\"'&"


def test_nothing_hostile_gets_through() -> None:
    rows = [
        {"case": HOSTILE, "state": "failed", "flags": "", "fault": HOSTILE, HOSTILE: HOSTILE, "seconds": 1.5},
        {"case": "a/b", "state": "done", "flags": "Residual", "fault": "", "seconds": None},
    ]
    page = batch_page(
        rows, {HOSTILE: HOSTILE}, {HOSTILE: (f"{HOSTILE}/x.html", ""), "a/b": ("a/b/b.html", "a/b/b.png")}
    )
    assert page.count("<script>") == 1  # ours
    assert "alert(1)</script>" not in page
    assert 'href="%3Cscript%3E' in page
    assert '<tr class="failed">' in page
    assert '<tr class="look">' in page
    assert '<a href="a/b/b.html">a/b</a>' in page
    assert 'src="a/b/b.png"' in page
    assert '<td class=n data-v="1.5">1.5</td>' in page


def test_columns_without_values_are_left_out() -> None:
    page = batch_page([{"case": "a", "state": "done", "flags": "", "units": None, "input": "secret.h5"}], {}, {})
    assert "<th>units" not in page
    assert "secret" not in page
