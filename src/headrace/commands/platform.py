"""`headrace up` and `headrace demo`: a whole platform in the foreground."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.commands.calling import guard
from headrace.commands.grouped import grouped

if TYPE_CHECKING:
    from headrace.settings import LibrarySettings, MqttSettings, PlatformSettings

Port = Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")]
Ledger = Annotated[
    str,
    typer.Option(
        envvar="HEADRACE_LEDGER",
        help="Where claims are recorded: embedded, memory (gone with the process) or none (default: embedded if it is "
        "installed, else none).",
    ),
]
MqttPort = Annotated[int, typer.Option(min=0, max=65535, help="MQTT port; 0 takes a free one.")]


@dataclass(frozen=True)
class Up:
    """What the command line says of a platform; defaults as `PlatformSettings` has them."""

    data: Annotated[Path, typer.Option(help="Data directory: the log and everything derived from it.")] = Path("data")
    http_port: Port = 8080
    mqtt_port: MqttPort = 1883
    host: Annotated[str, typer.Option(help="Address to bind both doors to.")] = "127.0.0.1"
    broker: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_BROKER",
            help="Also take messages from this broker: mqtt://host:port. Give one with a password in the environment, "
            "where `ps` does not show it.",
        ),
    ] = ""
    broker_topic: Annotated[list[str] | None, typer.Option(help="Topic filters on that broker (default: #).")] = None
    mqtt_users: Annotated[Path | None, typer.Option(help="YAML file of MQTT users and their topics.")] = None
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate: opens the MQTT TLS port.")] = None
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of that certificate.")] = None
    tls_port: Annotated[int, typer.Option(help="MQTT port for TLS; 0 takes a free one.")] = 8883
    retention_days: Annotated[float, typer.Option(help="Forget records older than this; 0: never.")] = 0
    retention_gb: Annotated[float, typer.Option(help="Keep the log below this size; 0: no limit.")] = 10
    body_limit_mb: Annotated[float, typer.Option(help="Largest HTTP body, also after decompression.")] = 16
    webhook_private: Annotated[
        bool, typer.Option("--webhook-private", help="Send alerts to private and loopback addresses too.")
    ] = False
    open_: Annotated[
        bool, typer.Option("--open", help="Ask nobody for a token; only on loopback with one company.")
    ] = False
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Training jobs at one time.")] = 1
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="Run training code unisolated; only on loopback with one company."),
    ] = False
    ledger: Ledger = ""
    snapshots_kept: Annotated[
        int, typer.Option(min=0, help="Snapshots kept of each online model; 0: none are registered.")
    ] = 200
    company_quota: Annotated[
        float, typer.Option(min=0, help="GB of datasets and models one company may keep; 0: no limit.")
    ] = 0
    upload_limit: Annotated[float, typer.Option(min=0, help="GB of the largest file to be sent; 0: no limit.")] = 0
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address or network of a reverse proxy elsewhere; repeat it for more.")
    ] = None

    def settings(self) -> PlatformSettings:
        """The settings these options stand for."""
        from headrace.settings import MIB, HttpSettings, PlatformSettings

        return PlatformSettings(
            data=self.data,
            http_host=self.host,
            http_port=self.http_port,
            http=HttpSettings(proxies=self._proxies()),
            mqtt=self._mqtt(),
            broker=self.broker,
            broker_topics=tuple(self.broker_topic or ["#"]),
            retention_age=self.retention_days * 86400,
            retention_size=round(self.retention_gb * 1024 * MIB),
            body_limit=round(self.body_limit_mb * MIB),
            webhook_private=self.webhook_private,
            open=self.open_,
            library=replace(
                library_settings(self.company_quota, self.upload_limit, self.jobs, self.ledger),
                snapshots_kept=self.snapshots_kept,
                unsafe=self.unsafe,
            ),
        )

    def _mqtt(self) -> MqttSettings:
        from headrace.settings import MqttSettings

        return MqttSettings(
            host=self.host,
            port=self.mqtt_port,
            users=self.mqtt_users,
            tls_certificate=self.tls_certificate,
            tls_key=self.tls_key,
            tls_port=self.tls_port,
            proxies=self._proxies(),
        )

    def _proxies(self) -> tuple[str, ...]:
        return tuple(map(_network, self.proxy or ()))


def _network(text: str) -> str:
    from ipaddress import ip_network

    try:
        return str(ip_network(text))
    except ValueError as error:
        raise typer.BadParameter(f"{error}; say 192.0.2.7 or 192.0.2.0/24", param_hint="--proxy") from error


def library_settings(quota: float, upload: float, jobs: int, ledger: str) -> LibrarySettings:
    """Settings of datasets, models and jobs.

    Args:
        quota: GiB of a company; 0: no limit.
        upload: GiB of the largest file; 0: no limit.
        ledger: a name of the family; "": the usual one.
    """
    from headrace.settings import MIB, ArtifactSettings, LibrarySettings, TrainingSettings, VerificationSettings

    gib = 1024 * MIB
    artifacts = ArtifactSettings(quota=round(quota * gib), upload_bytes=round(upload * gib))
    return LibrarySettings(
        artifacts=artifacts,
        training=TrainingSettings(parallel=jobs),
        verification=VerificationSettings(ledger=ledger),
    )


@grouped(Up)
def up(
    asked: Up,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line with all addresses once ready.")] = False,
) -> None:
    """Start the whole platform. Stops cleanly on Ctrl-C or SIGTERM; safe to start again on the same directory."""
    from headrace.running import run

    settings = asked.settings()
    guard(lambda: run(settings, as_json=as_json))


def demo(
    once: Annotated[bool, typer.Option(help="Headless: 20 + 2 days, the score table, exit.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data directory (default: a temporary one).")] = None,
    http_port: Port = 8080,
    mqtt_port: MqttPort = 1883,
    speed: Annotated[float, typer.Option(help="Live readings a second; 0: as fast as they are stored.")] = 2000,
) -> None:
    """The PV example: a real inverter's readings over real MQTT, two models and two baselines learning from them."""
    from headrace.demo import run

    guard(lambda: run(once=once, data=data, http_port=http_port, mqtt_port=mqtt_port, speed=speed))
