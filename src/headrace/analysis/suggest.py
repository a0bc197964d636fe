"""A complete spec for what was found, with the reason for every choice beside it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np

from headrace.analysis.fields import Analysis, Field
from headrace.analysis.sampling import NICE
from headrace.analysis.words import WEEK, count, num, period, share, span, time_of_day, yaml_duration
from headrace.records import DAY, HOUR, MINUTE

DEFAULT_INITIAL = 16 * DAY
LEAST_INITIAL = 10
"""Days (or seasons) the default features of `rls` need before the first example, and a few to learn from."""
LAGS_FROM = 4
"""Windows a season needs to be worth lags of its own."""
MOST_UNKNOWN = 0.5
"""Share of windows without a value from which a forecast has nothing to go by."""
JUMP, LEAST_JUMP = 7 * DAY, 3
"""What `resample` takes for a clock gone wrong if nothing is said: ns, and at least so many windows."""
WIDTH = 78
WHY_RLS = (
    "a linear model that learns from every example: hard to beat, and what anything deeper has to be compared with"
)
WHY_BAND = "the band comes from the model's own recent errors"


@dataclass(frozen=True)
class Suggestion:
    """The choices, and the file that makes them."""

    target: str
    every: int
    """Grid step, ns."""
    season: int
    """ns; 0: none found."""
    history: int
    """Grid steps a network should see."""
    horizon: int
    """Grid steps."""
    timezone: str
    initial: int
    """ns."""
    up_to: int
    """Longest gap filled, ns."""
    beyond: str
    text: str
    """headrace.yaml; "" where nothing sensible can be suggested."""
    refused: str = ""
    """Why there is none."""


@dataclass(frozen=True)
class _Choice:
    """Part of a spec: its line (if it takes one), and why."""

    line: str
    why: str

    def render(self, indent: str) -> str:
        return "\n".join([*_comment(self.why, indent), *([f"{indent}{self.line}"] if self.line else [])])


def suggest(analysis: Analysis, given_zone: str | None) -> Suggestion:
    """A spec for the most forecastable field, or why there is none yet.

    Args:
        given_zone: the user's; without one it is guessed from a silence that means zero, else UTC.
    """
    field = analysis.target
    season, every, why_step = _season_and_step(field)
    steps = season // every if season else 24
    history = steps * 3 // 2 if season else 36
    zone, why_zone = _zone(field, analysis.zone, given_zone)
    initial, why_initial = _initial(field, season or every * 24)
    up_to, beyond, why_gaps = _gaps(field, season, every)
    if refused := _refused(field, every, up_to, initial):
        return Suggestion(field.name, every, season, history, steps, zone, initial, up_to, beyond, "", refused)
    issue = steps * every
    jump, why_jump = _jump(field, every)
    resample = _Choice(
        f"- resample: {{every: {yaml_duration(every)}, lateness: {yaml_duration(_lateness(field))}, fill: interpolate, "
        f"up_to: {yaml_duration(up_to)}, beyond: {beyond}{jump}}}",
        f"{why_step}. {why_gaps}. {_why_lateness(field)}{why_jump}",
    )
    parts = [
        *_head(analysis, field),
        *_input(analysis, field, zone, why_zone),
        "transform:",
        *(one.render("  ") for one in [*_derived(analysis), resample, _scale(field, initial)]),
        *(one.render("  ") for one in _features(field, season, every, history)),
        _Choice(f"forecast: {{horizon: {steps}, every: {yaml_duration(issue)}}}", _why_horizon(field, season)).render(
            ""
        ),
        _Choice(
            f"learning: {{initial: {yaml_duration(initial)}, every: {yaml_duration(issue)}, "
            f"examples: {'forecasts' if season == DAY else 'steps'}}}",
            why_initial,
        ).render(""),
        *_model(field),
    ]
    return Suggestion(field.name, every, season, history, steps, zone, initial, up_to, beyond, "\n".join(parts) + "\n")


def _head(analysis: Analysis, field: Field) -> list[str]:
    source = "".join(one if one.isprintable() else "?" for one in analysis.table.source)
    return [
        f"# Suggested by `headrace analyse` from {source};",
        "# every choice has its reason above it. `headrace apply -f` takes it into service.",
        "kind: OnlineModel",
        f"metadata: {{name: {_name(analysis, field)}}}",
    ]


def _scale(field: Field, initial: int) -> _Choice:
    seen = f"values go from {num(field.quality.low)} to {num(field.quality.high)}"
    return _Choice("- scale: {method: minmax}", f"fitted on the first {span(initial)} only; {seen}")


def _model(field: Field) -> list[str]:
    """What learns, and the band. Zero is a floor where the field rests on it: scaled by minmax, it stays zero."""
    floor = field.zero or (field.quality.low == 0 and field.quality.zeros > 0.01)
    band = (
        f"{WHY_BAND}; neither it nor the forecast goes below zero, and where all is zero it closes"
        if floor
        else WHY_BAND
    )
    clipped = "interval: {adaptive: {clip: {low: 0}, quiet: {below: 0.1%}}}"
    return [
        _Choice("backend: {rls: {floor: 0}}" if floor else "backend: rls", WHY_RLS).render(""),
        _Choice(clipped if floor else "interval: adaptive", band).render(""),
    ]


def _season_and_step(field: Field) -> tuple[int, int, str]:
    """(season, grid step, why): a day in hours if there is one, else 12 to 48 steps in the shortest season."""
    usual = max(field.sampling.step, _median_step(field)) or HOUR
    finest = next((step for step in NICE if step >= usual * 0.98), -(-round(usual * 0.98) // DAY) * DAY)
    lengths = [one.period for one in field.seasons.found if one.period <= 7 * DAY]
    reading = f"a reading comes every {span(field.sampling.step)}" if field.sampling.step else "there is one reading"
    if DAY in lengths and finest <= 6 * HOUR:
        every = max(HOUR, finest)
        return DAY, every, f"{DAY // every} steps a day, because the day is the season; {reading}"
    for length in lengths:
        if length >= LAGS_FROM * finest:
            fitting = [step for step in NICE if finest <= step <= max(finest, length // 12)]
            every = min(fitting, key=lambda step: abs(length / step - 24))
            return (
                round(length / every) * every,
                every,
                f"about {round(length / every)} steps a season of {period(length)}; {reading}",
            )
    every = next((step for step in NICE if step >= min(10 * usual, HOUR)), DAY)
    every = max(every, finest)
    return 0, every, f"no season to go by: a few readings to a step; {reading}"


def _zone(field: Field, used: str, given: str | None) -> tuple[str, str]:
    if given is not None:
        return given, "whose midnight and hours count, as you said"
    quiet = field.sampling.silence
    if used != "UTC" or quiet is None or not field.zero:
        return "UTC", "no --timezone was given; name the site's, its midnight and hours count"
    hours = round(((quiet.centre + DAY // 2) % DAY - DAY // 2) / HOUR)
    name = f"Etc/GMT{hours:+d}" if hours else "UTC"
    centre = time_of_day(quiet.centre)
    why = f"the silence centres on {centre} UTC, taken for midnight; put your zone's name here if it has summer time"
    return name, why


def _median_step(field: Field) -> int:
    """Half of the values come within this time of the one before, ns; 0 of one value."""
    return round(float(np.median(np.diff(field.time)))) if len(field.time) > 1 else 0


def _refused(field: Field, every: int, up_to: int, initial: int) -> str:
    """Why no spec would ever forecast such a series, in a sentence; "" if one would."""
    there, readings = field.sampling.covered, count(len(field.time), "reading")
    if there < initial:
        return (
            f"{readings} in {span(there)} are too few: at a step of {span(every)} the first fit alone takes "
            f"{span(initial)}. Come back when there is more"
        )
    empty = _unknown(field, every, up_to)
    if empty > MOST_UNKNOWN:
        return (
            f"too few readings for their step: {share(empty)} of the windows of {span(every)} would be unknown, even with "
            f"gaps bridged up to {span(up_to)}. Thin out the bursts, or name another --field"
        )
    return ""


def _unknown(field: Field, every: int, up_to: int) -> float:
    """Share of the windows in which nothing is known, of those outside a silence that means zero and the longest holes."""
    holes = np.sort(np.diff(field.time))
    if field.sampling.silence is not None and field.zero:
        holes = holes[holes < field.sampling.silence.shortest]
    holes = holes[: max(1, int(len(holes) * 0.99))]
    lost = holes[holes > up_to + every].sum()
    return float(lost / max(1, holes.sum()))


def _jump(field: Field, every: int) -> tuple[str, str]:
    """(parameter of resample, why): ordinary holes must not look like a clock gone wrong."""
    holes = np.diff(field.time)
    longest = float(np.quantile(holes, 0.99)) if len(holes) else 0.0
    if longest <= max(JUMP, LEAST_JUMP * every):
        return "", ""
    jump = -(-round(1.5 * longest) // DAY) * DAY
    return f", max_jump: {yaml_duration(jump)}", f". Readings come up to {span(longest)} apart: no clock gone wrong"


def _initial(field: Field, season: int) -> tuple[int, str]:
    """Event time for the first fit: 16 days (or seasons) if there are many more, else what there is, within reason."""
    unit = DAY if season == DAY else season
    there = field.sampling.covered
    least = LEAST_INITIAL * unit
    most = DEFAULT_INITIAL if unit == DAY else 16 * unit
    initial = int(min(most, max(least, there * 6 // 10 // unit * unit)))
    return (
        initial,
        f"{span(there)} are there, of which the first fit (and the scale) take {span(initial)}; "
        "the rest is scored before it is learnt",
    )


def _gaps(field: Field, season: int, every: int) -> tuple[int, str, str]:
    """(up_to, beyond, why)."""
    rate, third = field.sampling, max(every, (season or 24 * every) // 3 // every * every)
    if rate.silence is None:
        told = (
            f"{count(rate.gaps, 'gap')}, 99 % of them up to {span(rate.gap_ordinary)}"
            if rate.gaps
            else "no gaps were seen"
        )
        return (
            third,
            "nan",
            f"{told}: bridged up to {span(third)}, a third of {'the season' if season else '24 steps'}, unknown beyond",
        )
    longest = (rate.silence.shortest // every - 2) * every  # one less than are surely empty
    up_to = max(every, min(8 * HOUR, third, longest))
    told = (
        f"the silence is {span(rate.silence.shortest)} or longer, 99 % of the gaps are up to {span(rate.gap_ordinary)}"
    )
    beyond = "zero" if field.zero else "nan"
    return up_to, beyond, f"{told}: bridged up to {span(up_to)}, {'zero' if field.zero else 'unknown'} beyond"


def _lateness(field: Field) -> int:
    wanted = max(MINUTE, field.sampling.delay) if field.sampling.delay <= HOUR else HOUR
    return min(HOUR, -(-wanted // MINUTE) * MINUTE)


def _why_lateness(field: Field) -> str:
    if not field.sampling.backward:
        return "Nothing came out of order"
    return f"{count(field.sampling.backward, 'reading')} came up to {span(field.sampling.delay)} late"


def _why_horizon(field: Field, season: int) -> str:
    if not season:
        return "24 steps ahead: a start, nothing repeats that would say better"
    one = next((found for found in field.seasons.found if found.period >= season * 0.9), field.seasons.found[0])
    ahead = "day-ahead, issued at local midnight" if season == DAY else f"one season ({period(season)}) ahead"
    return f"{ahead}: the profile of one half of the time explains {share(one.holds)} of the other"


def _derived(analysis: Analysis) -> list[_Choice]:
    if analysis.target.name not in analysis.table.derived:
        return []
    return [_Choice("- three_phase_power", "V·I·PF of the three phases, multiplied before anything is averaged")]


def _features(field: Field, season: int, every: int, history: int) -> list[_Choice]:
    """Steps that say what the model sees; those of `rls` itself suit a daily season."""
    steps = season // every
    if season == DAY and not any(one.period == WEEK for one in field.seasons.found):
        why = (
            "rls brings its own lags and hours of the day. For a network, `backend: {torch: {module: gru}}`, add "
            f"`- window: {{history: {history}}}`: a season and a half"
        )
        return [_Choice("", why)]
    if steps < LAGS_FROM:
        return [_Choice(f"- window: {{history: {history}}}", "no season, so the last values as they are")]
    same = f"the same slot one and two seasons ({steps} steps) before, its neighbours, and its mean"
    back = [steps, max(1, steps - 1), steps + 1, 2 * steps]
    if season == DAY:
        return [
            _lags([*back, 7 * steps], 7, steps, f"{same} of seven days; and a week before, because weekdays differ"),
            _Choice("- calendar: {features: [hour_sin, hour_cos, weekday, constant]}", "hours and weekdays"),
        ]
    return [
        _lags(back, 3, steps, f"{same} of three"),
        _Choice("- calendar: {features: [constant]}", "a constant beside them"),
    ]


def _lags(back: list[int], means: int, season: int, why: str) -> _Choice:
    rest = f"means: [{{days: {means}}}], yesterday: [mean, max], season: {season}, ahead: season"
    return _Choice(f"- lags: {{steps: {back}, {rest}}}", why)


def _input(analysis: Analysis, field: Field, zone: str, why_zone: str) -> list[str]:
    table = analysis.table
    topic = "where these readings were recorded" if table.recorded else "where your devices publish: change it"
    others = "" if len(table.devices) < 2 else f"; there are {len(table.devices):,}"
    parts = [
        "input:",
        *_comment(topic, "  "),
        f"  topics: [{_quoted(table.topic)}]",
        *_comment(f"one model per device{others}", "  "),
        "  key: device",
        *_comment(_why_target(analysis, field), "  "),
        f"  target: {_quoted(field.name)}",
    ]
    if field.unit:
        parts.append(f"  unit: {_quoted(field.unit)}")
    far = field.outliers
    if far.absurd and field.name not in table.derived:
        low, high = _around(far.low, far.high)
        why = f"{count(far.n, 'value')} far outside, such as {num(far.worst)}: they count as missing"
        parts += [*_comment(why, "  "), f"  valid: {{{_quoted(field.name)}: [{low}, {high}]}}"]
    return [*parts, *_comment(why_zone, "  "), f"  timezone: {zone}"]


def _why_target(analysis: Analysis, field: Field) -> str:
    if field.quality.constant:
        return "it was constant: there is nothing to forecast yet"
    if field.name in analysis.table.derived:
        return "made by three_phase_power below"
    if len(analysis.fields) == 1:
        return "the field looked at"
    return f"the most forecastable of {len(analysis.fields)} fields"


def _around(low: float, high: float) -> tuple[str, str]:
    """A plausible range: a fifth wider than what was seen, and not below zero if nothing was."""
    reach = (high - low) / 5
    bottom = max(0.0, low - reach) if low >= 0 else low - reach
    return _number(bottom), _number(high + reach)


def _number(value: float) -> str:
    """Three digits, in YAML's way of writing a float."""
    rounded = float(f"{value:.3g}")
    return str(int(rounded)) if rounded == int(rounded) and abs(rounded) < 1e15 else repr(rounded)


def _name(analysis: Analysis, field: Field) -> str:
    table = analysis.table
    one = table.recorded and len(table.devices) == 1 and table.device
    stem = table.device if one else table.topic.partition("/")[0]
    plain = re.sub("[^a-z0-9]+", "-", f"{stem}-{field.name}".lower()).strip("-")[:63].strip("-")
    return json.dumps(plain or "model")


def _comment(text: str, indent: str) -> list[str]:
    """Lines of a comment, wrapped."""
    import textwrap

    plain = re.sub(r"\s+", " ", text)
    return textwrap.wrap(plain, WIDTH - len(indent), initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _quoted(text: str) -> str:
    """A text in YAML, whatever is in it."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)
