"""The answer as a page: findings, figures, the spec."""

from __future__ import annotations

from html import escape

from headrace import pages
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
body { max-width: 860px; } nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0 0; }
dd.flag { color: var(--warn); } dd.flag::before { content: "! "; font-weight: 700; } .narrow { display: none; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 0.8rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media (max-width: 600px) { .wide { display: none; } .narrow { display: block; } pre { font-size: 0.7rem; } }
"""


def page(analysis: Analysis, suggestion: Suggestion, progress: Progress) -> str:
    """The whole page; the same bytes for the same readings. Everything that came from outside is escaped."""
    table = analysis.table
    parts = [
        f"<h1>{escape(table.source)}</h1><p>{escape(headline(analysis).removeprefix(table.source + ': '))}</p>",
        *(f'<p class="soft">{escape(note)}</p>' for note in table.notes),
        _contents(analysis),
    ]
    for index, field in enumerate(analysis.fields):
        progress(f"drawing {field.name}", index / len(analysis.fields))
        parts += _field(field, index, analysis)
    parts += _together(analysis)
    spec = escape(suggestion.text or f"None: {suggestion.refused}")
    parts.append(f'<h2 id="spec">Suggested spec</h2><div class="card"><pre>{spec}</pre></div>')
    return pages.page(f"{table.source}: what is in it", _STYLE, parts)


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
        parts.append(_figure(title, caption, draw, height, f"f{index}-{number}", field.name))
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
        _figure("Correlation", caption, figures.together(analysis), size, "map", "all fields", MAP),
    ]


def _figure(
    title: str, caption: str, draw: figures.Draw, height: float, name: str, about: str, sizes: Sizes = SIZES
) -> str:
    alt = f"{title} of {about}. {caption}"
    drawn = [
        f'<div class="{size}">{figures.svg(draw, width, height * share, f"{name}{size[0]}", alt)}</div>'
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
