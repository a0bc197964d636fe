"""What companies share: datasets, models, recipes, jobs, grants. Plain data, and the schemas of the HTTP APIs.

Times are integer milliseconds since the epoch, UTC. Digests are ``sha256:<64 hex digits>``. Ids are random and mean nothing.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

LEAF = 2**20
"""Bytes of a Merkle leaf."""

Right: TypeAlias = Literal["read", "train", "derive"]
ModelState: TypeAlias = Literal[
    "registered", "training", "trained", "failed", "cancelled", "uploaded", "translated", "snapshot"
]
Anchoring: TypeAlias = Literal["off", "waiting", "anchored", "failed"]
JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
JobKind: TypeAlias = Literal["train", "evaluate", "reproduce"]
Verdict: TypeAlias = Literal["reproduced", "never"]
Scalar: TypeAlias = bool | int | float | str

WHERE = "address of its contract; of a snapshot that of the contract its batch was anchored in; empty: not recorded yet"
ANCHORING = (
    "off: no ledger here; waiting; anchored: the ledger has its claim, and a training's result; failed: see the note"
)


REVOKED = "revoked: "
"""How the note of a record begins that its owner took back on the ledger; the reason follows."""
UNREADABLE = "unreadable: "
"""How the note begins of what stands in a list for a row that cannot be read any more."""


def new_id(kind: Literal["ds", "md", "jb", "gr", "up", "au", "dc"]) -> str:
    """A fresh id: what it names, then 80 random bits."""
    return f"{kind}_{secrets.token_hex(10)}"


class Plain(BaseModel):
    """Base of all: immutable, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Stored(Plain):
    """Content that was taken in whole: its size and what it is known by."""

    size: int = Field(description="bytes")
    sha256: str = Field(description="digest of the whole content")
    root: str = Field(description="Merkle root over leaves of 1 MiB (RFC 6962 hashing)")


class OutputFile(Plain):
    """One file of a model: where it stands among its outputs."""

    path: str
    stored: Stored


class StreamRange(Plain):
    """The part of a stream a dataset was made of."""

    topic: str
    from_ms: int
    to_ms: int
    first_position: int = Field(description="log position of its first record")
    last_position: int = Field(description="log position of its last record")
    records: int
    root: str = Field(description="Merkle root over its raw records in log order")
    raw: Stored | None = Field(
        None, description="the file of these records, JSON lines: each line is a leaf of the root"
    )


class Dataset(Plain):
    """A registered dataset."""

    id: str
    company: str = Field(description="the owner")
    name: str
    description: str = ""
    created_ms: int
    created_by: str
    media: str = Field(description="csv, parquet, npy, npz, images or other")
    filename: str
    stored: Stored
    statistics_state: Literal["pending", "done", "failed", "none"] = "pending"
    statistics_error: str = ""
    samples: int | None = Field(None, description="number of samples")
    sample_shape: list[int] | None = None
    statistics: dict[str, Any] | None = Field(None, description="unidimensional and matrix statistics")
    stream: StreamRange | None = Field(None, description="set when it was made of a stream")
    confidential: bool = Field(
        False, description="its metadata are encrypted beside the ledger, which holds their digest"
    )
    contract: str = Field("", description=WHERE)
    anchoring: Anchoring = Field("off", description=ANCHORING)
    anchoring_note: str = Field("", description="what it waits for, or why it failed")
    deleted_ms: int | None = Field(None, description="set: a tombstone; only the record is left")


class Environment(Plain):
    """Where a training has to run: the platform's own Python with exact versions, or a container image."""

    image: str = Field("", description="container image; needs the container runner")
    requires: dict[str, str] = Field({}, description="package -> exact version, e.g. {'torch': '2.13.0'}")
    fingerprint: str = Field("", description="digest of the whole environment, when only that one will do")


class Limits(Plain):
    """What a job's whole process tree may use."""

    memory_bytes: int = Field(
        2 * 2**30,
        ge=2**26,
        description="including what it has written to /work/output and /tmp, which is in memory until the run ends",
    )
    cpus: float = Field(1.0, gt=0, description="processor cores; also the number of threads of numeric libraries")
    processes: int = Field(64, ge=1, description="processes and threads")
    seconds: float = Field(3600, gt=0, description="wall time")
    output_bytes: int = Field(2 * 2**30, ge=1)
    output_files: int = Field(1000, ge=1)
    log_bytes: int = Field(4 * 2**20, ge=1)


class Recipe(Plain):
    """Everything a training depends on."""

    code: Stored = Field(description="the code archive (zip or tar)")
    entry_point: str = Field("train.py", description="Python file in the archive")
    parameters: dict[str, Scalar] = {}
    seeds: dict[str, int] = Field({"SEED": 0}, description="environment variables")
    environment: Environment = Environment()  # type: ignore[call-arg]
    datasets: list[str] = Field([], description="ids, mounted read-only in this order")
    evaluation: list[str] = Field([], description="ids of held-out datasets the metrics are made on")
    parent: str = Field("", description="id of the model whose weights it starts from")
    limits: Limits = Limits()  # type: ignore[call-arg]
    deterministic: bool = Field(True, description="false: declared non-deterministic, for ever")


class Parity(Plain):
    """How far a translated model's answers are from those of its original, asked the same in the sandbox that translated it."""

    inputs: int = Field(description="inputs compared")
    real: int = Field(description="of them recorded: samples of a dataset the original was trained or evaluated on")
    edge: int = Field(description="of them edge cases: zeros, ones, smallest and largest values seen")
    made: int = Field(
        description="of them made at random within what was seen; if nothing was, within what the model itself knows of its "
        "inputs (thresholds of trees, a scaler's mean); else of a normal distribution"
    )
    worst: float = Field(description="largest absolute difference")
    mean: float = Field(description="mean absolute difference")
    scale: float = Field(description="largest absolute value of the original's answers")
    tolerance: float = Field(description="largest difference allowed; a translation above it is refused")
    constant: list[Annotated[str, Field(max_length=500)]] | None = Field(
        None,
        max_length=100,
        description="outputs whose original answers were all the same within what was allowed, so that a constant would have "
        "passed; null: older than this was looked at",
    )

    def doubts(self) -> list[str]:
        """Why it shows little, in sentences; none if it does not."""
        found = []
        if not self.real:
            found.append(
                "Nothing recorded was compared: all inputs were made up, so it says little of those the model is made for"
            )
        if self.constant:
            outputs = ", ".join(repr(name[:60]) for name in self.constant[:8])
            found.append(
                f"The original's answers were all the same (output {outputs}): a constant would have passed this comparison"
            )
        return found


class Translation(Plain):
    """What a model was translated from, how, and how well."""

    of: str = Field(description="id of the original")
    digest: str = Field(description="of the original's files")
    framework: str = Field(description="of the original: torch, sklearn, keras, tensorflow")
    exporter: str = Field(description="what wrote it, e.g. torchscript")
    opset: int
    dtypes: str = Field(description="what became of number types, e.g. `float64 to float32`")
    dropout: Literal["eval", "train-fixed"] = Field("eval", description="mode the original was exported in")
    versions: dict[str, str] = Field(description="package -> version, of what translated and compared")
    parity: Parity

    def named(self, original: str) -> str:
        """What a translation of an original of that name is called, if nobody says otherwise."""
        return f"{original} (ONNX)" if self.dropout == "eval" else f"{original} (ONNX, {self.dropout})"


class Snapshot(Plain):
    """Which learner published a model, and the part of the company's log its state is a function of."""

    model: str = Field(description="name of the online model")
    key: str = ""
    generation: str = Field(description="of the applied spec")
    spec: str = Field(description="digest of the spec and the user's files it came with")
    published_ms: int = Field(description="event time of the decision")
    first_position: int = Field(description="log position its learner began at")
    last_position: int = Field(
        description="a log position by which all that went into it had come; what came between cannot change it"
    )
    records: int = Field(description="records of the log in that range, of all topics")
    root: str = Field(
        description="Merkle root over these raw records in log order, each a leaf as the line of a raw file"
    )
    environment: str = Field(
        description="digest of the environment it was learned in; of a learner that went on in another one, of each"
    )
    topics: list[str] = Field([], description="topic filters of the streams it learned from")


class Model(Plain):
    """A registered model: trained here from a recipe, uploaded as it is, translated, or learned online."""

    id: str
    company: str = Field(description="the owner")
    name: str
    description: str = ""
    created_ms: int
    created_by: str
    state: ModelState
    recipe: Recipe | None = Field(None, description="null: uploaded, trained elsewhere")
    job: str = Field("", description="id of the job that trained it")
    parent: str = ""
    datasets: list[str] = Field([], description="ids of what it was trained on")
    files: list[OutputFile] = []
    digest: str = Field("", description="digest over the names and digests of all files")
    framework: str = ""
    input_shape: list[int] | None = None
    output_shape: list[int] | None = None
    parameters: int | None = Field(None, description="number of trained parameters")
    metadata: dict[str, Any] = Field({}, description="whatever else the format tells")
    metrics: dict[str, Any] = {}
    fingerprint: str = Field("", description="digest of the environment it was trained, or translated, in")
    environment: dict[str, Any] = Field({}, description="that environment, readable")
    reproducible: Literal["unknown", "reproduced", "never"] = "unknown"
    reproducible_note: str = Field("", description="what the word above rests on")
    held_for: list[str] = Field([], description="companies whose data it was trained on and that have not released it")
    translation: Translation | None = Field(None, description="set when it was translated from its parent")
    snapshot: Snapshot | None = Field(None, description="set when an online model published it")
    confidential: bool = Field(
        False, description="its metadata are encrypted beside the ledger, which holds their digest"
    )
    contract: str = Field("", description=WHERE)
    anchoring: Anchoring = Field("off", description=ANCHORING)
    anchoring_note: str = Field("", description="what it waits for, or why it failed")
    deleted_ms: int | None = None


def revoked(asset: Dataset | Model) -> str | None:
    """Why its owner took it back, as its record says; None: it was not. The ledger itself is asked by a verification."""
    note = asset.anchoring_note
    return note.removeprefix(REVOKED) if note.startswith(REVOKED) else None


class Job(Plain):
    """A run of a recipe. The table is the truth; what is said about it elsewhere is a nudge."""

    id: str
    company: str
    model: str
    kind: JobKind = Field("train", description="train; evaluate the trained model; reproduce: train again and compare")
    dataset: str = Field("", description="id of the held-out dataset of an evaluation")
    created_ms: int
    created_by: str
    state: JobState = "queued"
    priority: int = Field(0, description="higher goes first")
    attempt: int = Field(0, description="how often it was started, by whatever cause")
    attempts: int = Field(
        1, ge=1, description="how often the code may fail before the job counts as failed; a retry counts anew"
    )
    started_ms: int | None = None
    ended_ms: int | None = None
    progress: float | None = Field(None, description="0 to 1, as the code says")
    message: str = Field("", description="the code's last word about its progress")
    reason: str = Field("", description="why it failed or was cancelled, and what to do")
    exit_code: int | None = None
    peak_memory_bytes: int | None = None
    log_bytes: int = Field(0, description="of all attempts whose logs are kept")
    runner: str = Field("", description="local, container, or unsafe: without a sandbox (`--unsafe-no-sandbox`)")
    metrics: dict[str, Scalar] = Field({}, description="what the code measured; empty while held")
    held_for: list[str] = Field(
        [],
        description="companies whose data it may only train on: until they release, only its state and times are shown",
    )


class Grant(Plain):
    """One dataset or model opened to another company.

    read: download it. train: have a job read it; what that job makes (files, metrics, log) stays with the owner until
    released. derive: have a job read it, and keep what it makes.
    """

    id: str
    asset: str = Field(description="id of the dataset or model")
    company: str = Field(description="the owner")
    grantee: str = Field(description="the other company")
    right: Right
    created_ms: int
    created_by: str
    expires_ms: int | None = None
    revoked_ms: int | None = None


class AuditEntry(Plain):
    """What somebody did, or tried to do, with what companies share."""

    id: int
    time_ms: int
    company: str
    subject: str
    action: str
    asset: str
    allowed: bool
    detail: str = ""


class LineageNode(Plain):
    """One thing in a lineage. What the caller may not see has a kind only; if it was made of something of his, also company
    and state; if his was made of it, also that it was revoked."""

    id: str = Field(description="its id; `hidden_1` and so on, which means nothing, for what the caller may not see")
    kind: Literal["stream", "dataset", "recipe", "job", "model", "translation", "snapshot"]
    name: str = ""
    company: str = ""
    state: str = ""
    deleted: bool = False
    revoked: str = Field("", description="why its owner took it back; empty: it was not")


class Lineage(Plain):
    """What an asset was made of, and what was made of it."""

    nodes: list[LineageNode]
    edges: list[tuple[str, str]] = Field(description="(from, to): the second was made of the first")
