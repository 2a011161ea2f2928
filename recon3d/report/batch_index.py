"""The index of a batch: one page with a row per case, sortable, that leads to the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem; margin-bottom: .2rem } p { color: #555; margin: .2rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; margin-top: 1rem; width: 100% }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
th { white-space: nowrap; cursor: pointer; position: sticky; top: 0; background: #fff; border-bottom: 2px solid #888 }
th[aria-sort=ascending]::after { content: " \\2191" } th[aria-sort=descending]::after { content: " \\2193" }
td.n { text-align: right } tr.failed td { background: #fdecea } tr.look td { background: #fff6dc }
img { height: 4.5rem; background: #121212; display: block } td.fault { min-width: 22rem; overflow-wrap: anywhere }
"""

# Sorting by a click on a heading; without scripts the page is sorted all the same, worst first.
_SCRIPT = """
document.querySelectorAll('th').forEach((head, column) => head.addEventListener('click', () => {
  const body = head.closest('table').tBodies[0], down = head.getAttribute('aria-sort') === 'descending' ? 1 : -1;
  const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const rows = [...body.rows].sort((a, b) => {
    const [p, q] = [key(a), key(b)], [x, y] = [parseFloat(p), parseFloat(q)];
    return down * (isNaN(x) || isNaN(y) ? String(p).localeCompare(String(q)) : x - y);
  });
  document.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', down < 0 ? 'descending' : 'ascending');
  body.append(...rows);
}));
"""

_FIRST, _HIDDEN = ("case", "state", "fault", "flags"), ("result", "input")


Row = Mapping[str, Any]


def batch_page(rows: Sequence[Row], facts: Mapping[str, Any], links: Mapping[str, tuple[str, str]]) -> str:
    """The page, as text. Every word of it that comes from outside is escaped.

    Parameters
    ----------
    rows : one per case, as they are to be sorted; "case", "state", "flags" and "fault" are known, others are shown
    facts : what stands above the table
    links : by case, the files of its report and of its picture, relative to the page
    """
    names = dict.fromkeys([*_FIRST, *(name for row in rows for name in row)])
    columns = [name for name in names if name not in _HIDDEN]
    filled = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in filled)
    body = "\n".join(_row(row, filled, links.get(str(row["case"]))) for row in rows)
    told = "".join(f"<p>{escape(str(name))}: {escape(str(value))}</p>\n" for name, value in facts.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="recon3d">'
        f"<title>Batch</title><style>{_STYLE}</style></head>\n<body><h1>Batch</h1>\n{told}"
        f"<table><thead><tr><th>picture</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _row(row: Row, columns: Sequence[str], link: tuple[str, str] | None) -> str:
    cells = [f'<td><img loading="lazy" alt="" src="{_url(link[1])}"></td>' if link and link[1] else "<td></td>"]
    for name in columns:
        value = row.get(name)
        if name == "case":
            text = escape(str(value))
            cells.append(f'<td><a href="{_url(link[0])}">{text}</a></td>' if link else f"<td>{text}</td>")
        elif isinstance(value, int | float):
            cells.append(f'<td class=n data-v="{value:.9g}">{value:.4g}</td>')
        else:
            kind = " class=fault" if name == "fault" else ""
            cells.append(f"<td{kind}>{'' if value is None else escape(str(value))}</td>")
    failed = row["state"] not in ("done", "done before")
    kind = ' class="failed"' if failed else ' class="look"' if row.get("flags") else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _url(path: str) -> str:
    return escape(quote(path), quote=True)
