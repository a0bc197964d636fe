"""What `headrace evaluate` was asked: its options, and the spec, data and periods they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.assets import Dataset, Model
from headrace.errors import BadInput
from headrace.evaluation import data, periods, plans
from headrace.evaluation.periods import Periods
from headrace.evaluation.plans import Chosen
from headrace.evaluation.registered import Library
from headrace.spec import duration


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    file: Path | None = None
    data: Path | None = None
    target: str = ""
    periods: str = ""
    train: str = ""
    validate: str = ""
    history: int | None = None
    only: str = ""
    as_json: bool = False
    csv: Path | None = None
    html: Path | None = None
    push: str = ""
    jobs: int = 2
    drift: bool = False
    model: str = ""
    """Id of a registered model that takes part."""
    dataset: str = ""
    """Id of a registered dataset to evaluate on."""
    library: Library | None = None
    """Where the two are fetched from."""


@dataclass(frozen=True)
class Fetched:
    """What was registered, and is here for the time of the evaluation."""

    options: Options
    """With the dataset's file as its data."""
    dataset: Dataset | None = None
    model: Model | None = None
    files: Path | None = None
    code: Path | None = None


@contextmanager
def fetched(options: Options) -> Iterator[Fetched]:
    """The registered model and dataset that were asked for. Raises BadInput, NotFound, Forbidden."""
    if options.dataset and options.data is not None:
        raise BadInput(detail="--data and --dataset both say what to evaluate on; give one of them")
    if options.model and options.drift:
        raise BadInput(detail="--drift teaches models while they are evaluated; a registered model does not learn")
    library = options.library
    with ExitStack() as stack:
        found = Fetched(options)
        if library is not None and options.dataset:
            dataset, path = stack.enter_context(library.dataset(options.dataset))
            found = replace(found, options=replace(options, data=path), dataset=dataset)
        if library is not None and options.model:
            model, files, code = stack.enter_context(library.model(options.model))
            found = replace(found, model=model, files=files, code=code)
        yield found


def inputs(options: Options) -> tuple[Chosen, data.Source, Periods]:
    """The spec, the data and the periods that were asked for. Raises BadInput, BadSpec."""
    shipped = options.data is None
    when = _periods(options, shipped)
    chosen = plans.of_file(options.file) if options.file is not None else plans.of_record() if shipped else None
    zone = chosen.plan.spec.input.timezone if chosen else None
    source = data.trio(when) if options.data is None else data.read(options.data, zone)
    return chosen or plans.of_data(source, options.target, when), source, when


def _periods(options: Options, shipped: bool) -> Periods:
    when = periods.shipped() if shipped else Periods()
    if options.periods.isdigit():
        if not int(options.periods):
            raise BadInput(detail="--periods: expected 1 or more, or a YAML file, got 0")
        when = when.model_copy(update={"count": int(options.periods)})
    elif options.periods:
        when = periods.load(Path(options.periods))
    return plans.with_history(when, options.history, _length(options.train), _length(options.validate))


def _length(text: str) -> int | None:
    try:
        return duration(text) if text else None
    except ValueError as error:
        raise BadInput(detail=str(error)) from error


def report_name(options: Options, data_name: str) -> str:
    """Part of a report's name: lower-case letters, digits, dots and dashes."""
    whole = data_name if options.file is None else f"{options.file.stem}-{data_name}"
    clean = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in whole.lower())
    return "-".join(part for part in clean.split("-") if part)[:40] or "data"
