"""A report as a page: table, figures, notes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from headrace import pages
from headrace.evaluation.figures import Figure
from headrace.evaluation.report import Report

_STYLE = """
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--edge); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--ground); }
th { font-weight: 600; vertical-align: bottom; } tr.best td { font-weight: 600; }
h1 { margin-bottom: 1rem; } dt { color: inherit; font-weight: 600; } dd { color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.2rem; }
.figures figure { margin: 0; max-width: 44rem; }
figcaption { margin: .4rem 0 0; } figcaption b { color: #17212b; }
"""


def page(report: Report, figures: Sequence[Figure], notes: Sequence[str] = ()) -> str:
    """The whole page; `notes` are about the figures."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        _table(report),
        _figures(figures),
        *[_normality(found) for found in [report.more.get("normality")] if found],
        "<h2>How it was made</h2><ul>",
        *[f"<li>{escape(note)}</li>" for note in [*report.notes, *notes]],
        "</ul><h2>The columns</h2><dl>",
        *[f"<dt>{escape(one.label)}</dt><dd>{escape(one.help)}</dd>" for one in report.columns if one.help],
        "</dl>",
    ]
    return pages.page(report.title, _STYLE, parts)


def _table(report: Report) -> str:
    heads = "".join(
        f'<th scope="col" title="{escape(one.help, quote=True)}">{escape(f"{one.label} {one.unit}".rstrip())}</th>'
        for one in report.columns
    )
    scored = [row["mse"] for row in report.rows if row.get("mse") is not None]
    lines = []
    for row in report.rows:
        best = ' class="best"' if scored and row.get("mse") == min(scored) else ""
        cells = "".join(f"<td>{escape(one.text(row.get(one.name)))}</td>" for one in report.columns)
        lines.append(f"<tr{best}>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _figures(figures: Sequence[Figure]) -> str:
    shown = "".join(
        f"<figure>{one.svg}<figcaption><b>{escape(one.title)}.</b> {escape(one.caption)}</figcaption></figure>"
        for one in figures
    )
    return f'<h2>Figures</h2><div class="figures">{shown}</div>' if shown else ""


def _normality(found: Sequence[dict[str, Any]]) -> str:
    """p-values of each contender's tests; what they can show is in the sentence below."""
    names = [test["name"] for test in found[0]["tests"]]
    heads = "".join(f'<th scope="col">{escape(str(name))} p</th>' for name in names)
    lines = []
    for one in found:
        cells = "".join(f"<td>{_p(test)}</td>" for test in one["tests"])
        lines.append(f"<tr><td>{escape(str(one['model']))}</td><td>{one['n']:,}</td>{cells}</tr>")
    sentence = escape(str(found[-1].get("sentence", "")))
    head = f'<tr><th scope="col">model</th><th scope="col">n</th>{heads}</tr>'
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'
    level = found[0].get("level", 0.05)
    return f"<h2>Are the errors normal?</h2>{table}<p>A test rejects below {level:g}. {sentence}</p>"


def _p(test: dict[str, Any]) -> str:
    if test.get("p") is None:
        return escape(str(test.get("note") or "–"))
    return "&lt; 0.0001" if test["p"] < 0.0001 else f"{test['p']:.4f}"
