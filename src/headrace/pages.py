"""Pages that need nothing else: one frame, and drawings inline; the same bytes for the same data.

Readable on a phone, in print and in the dark, where drawings keep their light ground.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from headrace.errors import MissingExtra

STYLE = """
:root { color-scheme: light dark; --ground: #f4f6f7; --card: #fff; --ink: #17212b; --soft: #566472; --edge: #d5dce2;
  --accent: #0b6aa2; --warn: #8a5200; }
@media (prefers-color-scheme: dark) { :root { --ground: #14191f; --card: #1c232b; --ink: #e6eaee; --soft: #a3adb8;
  --edge: #39424c; --accent: #6cb6e6; --warn: #e0a458; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 20px 48px; max-width: 78rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 28px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 32px 0 10px; overflow-wrap: anywhere; }
h3 { font-size: 0.95rem; margin: 0 0 2px; }
p { margin: 0 0 6px; } a { color: var(--accent); } .soft { color: var(--soft); font-size: 0.86rem; }
.card, figure { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 14px 18px;
  margin: 0 0 14px; }
figure { color-scheme: light; background: #fff; color: #17212b; }
figcaption { color: #566472; font-size: 0.86rem; margin-bottom: 6px; }
svg { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 5px 18px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
.scroll { overflow-x: auto; }
@media (max-width: 600px) { body { padding: 0 10px 32px; } .card, figure { padding: 12px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; } dt:empty { display: none; } }
@media print { body { background: none; } figure { break-inside: avoid; } }
"""
_DRAWN = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def page(title: str, style: str, body: Iterable[str]) -> str:
    """A whole page. `style` adds to `STYLE`; what stands in `body` was escaped by who wrote it."""
    head = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body><main>",
    ]
    return "\n".join([*head, *body, "</main></body></html>\n"])


@contextmanager
def drawing(name: str, alt: str, width: float, height: float, style: dict[str, Any]) -> Iterator[tuple[Any, list[str]]]:
    """A matplotlib figure of `width` x `height` inches to draw on; afterwards the list holds its SVG.

    Args:
        name: keeps its ids apart from those of others on the page.
        alt: says what is drawn to those who cannot see it.
        style: matplotlib's settings.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra(family="figure", name="svg", module=error.name, extra="evaluate") from error
    made: list[str] = []
    settings: Any = {**_DRAWN, "svg.hashsalt": name, **style}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, made
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    made.append(_inline(out.getvalue(), name, alt))


def _inline(svg: str, name: str, alt: str) -> str:
    """The drawing alone, its ids its own, described, as wide as its place."""
    svg = re.sub(r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>", "", svg)
    svg = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for side in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {side}="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt, quote=True)}"', 1).strip()
