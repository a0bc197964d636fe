"""The answer as one page that needs nothing else: findings, figures, the spec."""

from __future__ import annotations

from html import escape

from headrace.analysis import figures
from headrace.analysis.fields import Analysis, Field
from headrace.analysis.report import headline
from headrace.analysis.suggest import Suggestion
from headrace.analysis.tables import Progress
from headrace.analysis.words import Finding

SIZES: tuple[tuple[str, float, float], ...] = (("wide", 7.2, 1.0), ("narrow", 3.9, 0.95))
"""(class, inches, share of the height): each figure is drawn for a desk and for a hand."""
Sizes = tuple[tuple[str, float, float], ...]
MAP: Sizes = (("wide", 6.0, 1.0), ("narrow", 3.9, 0.95))
BRIEF = ("Series", "Daily profile")
"""What is drawn of a field that is not the target."""
_STYLE = """
:root { --ground: #f4f6f7; --card: #fff; --ink: #17212b; --soft: #566472; --edge: #d5dce2; --accent: #0b6aa2; --warn: #8a5200; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 20px 48px; max-width: 860px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 28px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 32px 0 10px; overflow-wrap: anywhere; }
h3 { font-size: 0.95rem; margin: 0 0 2px; }
p { margin: 0 0 6px; } .soft, figcaption, dt { color: var(--soft); } .soft, figcaption { font-size: 0.86rem; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0 0; } a { color: var(--accent); }
.card, figure { background: var(--card); border: 1px solid var(--edge); border-radius: 12px;
  padding: 14px 18px; margin: 0 0 14px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 5px 18px; margin: 0; } dd { margin: 0; }
dd.flag { color: var(--warn); } dd.flag::before { content: "! "; font-weight: 700; }
figcaption { margin-bottom: 6px; } svg { display: block; width: 100%; height: auto; } .narrow { display: none; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 0.8rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media (max-width: 600px) { body { padding: 0 10px 32px; } .wide { display: none; } .narrow { display: block; }
  .card, figure { padding: 12px; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; } pre { font-size: 0.7rem; } dt:empty { display: none; } }
@media print { body { background: none; } figure { break-inside: avoid; } }
"""


def page(analysis: Analysis, suggestion: Suggestion, progress: Progress) -> str:
    """The whole page; the same bytes for the same readings. Everything that came from outside is escaped."""
    table, title = analysis.table, f"{analysis.table.source}: what is in it"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(table.source)}</h1><p>{escape(headline(analysis).removeprefix(table.source + ': '))}</p>",
        *(f'<p class="soft">{escape(note)}</p>' for note in table.notes),
        _contents(analysis),
    ]
    for index, field in enumerate(analysis.fields):
        progress(f"drawing {field.name}", index / len(analysis.fields))
        parts += _field(field, index, analysis)
    parts += _together(analysis)
    parts += [
        f'<h2 id="spec">Suggested spec</h2><div class="card"><pre>{escape(suggestion.text)}</pre></div></body></html>'
    ]
    return "\n".join(parts) + "\n"


def _contents(analysis: Analysis) -> str:
    links = [f'<a href="#field{index}">{escape(one.name)}</a>' for index, one in enumerate(analysis.fields)]
    links += ['<a href="#together">Fields together</a>'] if analysis.pairs else []
    links.append('<a href="#spec">Suggested spec</a>')
    return f"<nav>{''.join(links)}</nav>"


def _field(field: Field, index: int, analysis: Analysis) -> list[str]:
    """Findings and figures: all of the target, the series and its day of the others."""
    unit = f" ({escape(field.unit)})" if field.unit else ""
    parts = [f'<h2 id="field{index}">{escape(field.name)}{unit}</h2>', _findings(list(field.findings))]
    whole = field is analysis.target
    for number, (title, caption, height, draw) in enumerate(figures.of(field, analysis.zone)):
        if not whole and title not in BRIEF:
            continue
        parts.append(_figure(title, caption, draw, height, f"f{index}-{number}"))
    if not whole:
        parts.append(f'<p class="soft">--field {escape(field.name)} draws everything of this field.</p>')
    return parts


def _together(analysis: Analysis) -> list[str]:
    if not analysis.pairs:
        return []
    caption = "The largest correlation over lags of up to a day, once each field's season and trend are taken out."
    size = 0.9 + 0.36 * len(analysis.fields)
    return [
        '<h2 id="together">Fields together</h2>',
        _findings([one.finding() for one in analysis.pairs[:10]]),
        _figure("Correlation", caption, figures.together(analysis), size, "map", MAP),
    ]


def _figure(title: str, caption: str, draw: figures.Draw, height: float, name: str, sizes: Sizes = SIZES) -> str:
    drawn = [
        f'<div class="{size}">{figures.svg(draw, width, height * share, f"{name}{size[0]}")}</div>'
        for size, width, share in sizes
    ]
    return f"<figure><h3>{title}</h3><figcaption>{escape(caption)}</figcaption>{''.join(drawn)}</figure>"


def _findings(findings: list[Finding]) -> str:
    rows, before = [], ""
    for one in findings:
        kind = ' class="flag"' if one.flag else ""
        about = "" if one.about == before else escape(one.about)
        rows.append(f"<dt>{about}</dt><dd{kind}>{escape(one.sentence)}</dd>")
        before = one.about
    return f'<dl class="card">{"".join(rows)}</dl>'
