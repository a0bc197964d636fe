"""Looking at a series before a model does: what is in it, what is wrong with it, which spec would suit it.

``headrace analyse`` reads a file (`files`) or recorded messages (`recorded`) into a `Table`, measures each field
(`sampling`, `quality`, `grid`, `seasons`, `trend`, `correlation`, `stationary`, `outliers`; `fields` puts them in order)
and writes the answer as text, JSON or a page of figures, with a complete spec (`suggest`).

Every result is a small frozen dataclass; every `Finding` one plain sentence with its numbers. Nothing is claimed that the
number of readings does not support. Needs the extra ``evaluate``; its libraries are imported when they are used.
"""
