"""`headrace serve SERVICE`: one service alone, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from headrace.commands.calling import guard

Ledger = Annotated[
    str,
    typer.Option(
        envvar="HEADRACE_LEDGER",
        help="Where claims are recorded: embedded, memory (gone with the process) or none (default: embedded if it is "
        "installed, else none).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    service: Annotated[
        Literal["sharing", "training", "translation", "identity", "verification"], typer.Argument(help="Which one.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")],
    data: Annotated[Path, typer.Option(help="Data directory; the same for all services of a platform.")] = Path("data"),
    host: Annotated[str, typer.Option(help="Address to bind its door to.")] = "127.0.0.1",
    sharing: Annotated[
        str, typer.Option(help="URL of the sharing service; training, translation and verification need it.")
    ] = "",
    training: Annotated[str, typer.Option(help="URL of the training service; without it sharing trains nothing.")] = "",
    verification: Annotated[
        str, typer.Option(help="URL of the verification service; without it sharing has nothing recorded.")
    ] = "",
    ledger: Ledger = "",
    identity: Annotated[
        str,
        typer.Option(help="URL of the identity service, as its tokens name it (default: http://127.0.0.1:8080)."),
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Training jobs at one time.")] = 1,
    company_quota: Annotated[
        float, typer.Option(min=0, help="GB of datasets and models one company may keep; 0: no limit.")
    ] = 0,
    upload_limit: Annotated[float, typer.Option(min=0, help="GB of the largest file to be sent; 0: no limit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line with its address once ready.")] = False,
) -> None:
    """Start one service alone; it meets the others over HTTP. Not beside `headrace up` on one directory."""
    from headrace.serving import run
    from headrace.settings import (
        MIB,
        ArtifactSettings,
        LibrarySettings,
        ServeSettings,
        TrainingSettings,
        VerificationSettings,
    )

    gib = 1024 * MIB
    library = LibrarySettings(
        artifacts=ArtifactSettings(quota=round(company_quota * gib), upload_bytes=round(upload_limit * gib)),
        training=TrainingSettings(parallel=jobs),
        verification=VerificationSettings(ledger=ledger),
    )
    settings = ServeSettings(
        service=service,
        data=data,
        host=host,
        port=port,
        sharing=sharing,
        training=training,
        verification=verification,
        identity=identity,
        library=library,
    )
    guard(lambda: run(settings, as_json=as_json))
