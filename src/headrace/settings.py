"""Settings, one class per service. Each field says what it means, its unit, and why its default is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """The MQTT door: where it listens, whom it lets in, and the bound of everything a client can make it hold."""

    host: str = "127.0.0.1"
    """Address to bind. Loopback, because without a users file anyone who can connect may publish."""
    port: int = 1883
    """TCP port; 0 takes a free one (`MqttDoor.port` tells which). 1883 is the registered port of MQTT."""
    tls_port: int = 8883
    """TCP port for TLS, bound only if `tls_certificate` is set; 0 takes a free one. 8883 is the registered port."""
    tls_certificate: Path | None = None
    """PEM file with the server's certificate chain; None: no TLS, so that `headrace up` needs no files."""
    tls_key: Path | None = None
    """PEM file with its private key; None: the key is in the certificate file."""
    tls_client_ca: Path | None = None
    """PEM file of the authority that signs device certificates. A device that shows one is the user its common name
    says, without a password. None: certificates are not asked for."""
    tls_client_required: bool = False
    """Refuse TLS connections without a client certificate. Off, so that passwords can be used beside certificates."""
    users: Path | None = None
    """YAML file of users (see `users.py`); None: everyone is anonymous and may use every topic not under `$`."""
    origins: tuple[str, ...] = ()
    """Web origins, besides the door's own, whose pages may open a WebSocket. None: otherwise any page a user of this
    machine visits could publish to the loopback port."""

    packet_limit: int = 1 * MIB
    """Bytes of the largest packet accepted; larger ones are refused at their header. A reading is rarely over 1 KiB."""
    connections: int = 10_000
    """Clients at one time; one more is refused in its CONNACK. Each costs some 10 KiB."""
    half_open: int = 1_000
    """Connections that have not logged in yet; for one more, the oldest goes of the address that has most of them. Keeps
    strangers from using up the file handles."""
    address_half_open: int = 250
    """The same of one address (of IPv6: of one /64), loopback and `proxies` excepted."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies on other machines: what comes from there comes from many devices."""
    connect_timeout: float = 10.0
    """Seconds until CONNECT must have arrived. Long enough for a TLS handshake over a slow radio."""
    in_flight: int = 10_000
    """Messages received from one connection and not yet committed: MQTT 5's Receive Maximum, at most 65,535.
    Ten commits of the default publisher's window."""
    in_flight_bytes: int = 4 * MIB
    """Bytes received from one connection and not yet committed, above which its socket is not read."""
    topic_aliases: int = 256
    """Topic aliases a v5 connection may define; one device rarely has more topics."""

    write_buffer: int = 256 * KIB
    """Bytes waiting in one socket above which messages are queued instead of written."""
    outbound_window: int = 1_000
    """QoS 1 messages sent to one client and not yet acknowledged; a v5 client may ask for fewer. Thousands of forecasts
    a second need a window of about rate times round trip."""
    queue_messages: int = 10_000
    """Messages waiting for one client: over it, a connected client is disconnected as a slow reader and an absent one
    loses its oldest, because the newest forecast is the one worth having."""
    queue_bytes: int = 4 * MIB
    """The same bound in bytes; also of what was sent to one client and not acknowledged."""
    offline_bytes: int = 256 * MIB
    """Bytes of messages waiting for all absent clients together; over it, nothing more is kept for them."""
    retained: int = 10_000
    """Retained messages; the one that was updated longest ago makes room."""
    retained_bytes: int = 64 * MIB
    """The same bound in bytes."""
    subscriptions: int = 1_000
    """Filters of one session; one more is refused in its SUBACK."""
    sessions: int = 100_000
    """Sessions, connected or kept for absent clients; for one more, the one absent for longest is forgotten."""
    session_expiry: int = 86_400
    """Seconds for which an absent client's session is kept at most, whatever it asks for. One day bridges an outage."""
    concurrent_requests: int = 256
    """Requests to models under way at one time; one more is refused at once instead of waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The HTTP door: how many connections it holds, and how slow one may be."""

    connections: int = 4_096
    """At one time; for one more, the silent one goes that is oldest at the address that has most of them. Fewer where this
    process may not open so many files: about half of those left beside the platform's own."""
    address_connections: int = 512
    """Of one address (of IPv6: of one /64), loopback and `proxies` excepted."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of reverse proxies on other machines: what comes from there comes from many people."""
    head_seconds: float = 10.0
    """Seconds in which a request's head must have come. Long enough for a slow radio."""
    head_bytes: int = 64 * KIB
    """Bytes of the longest head. Browsers send a few KiB."""
    body_rate: int = 1 * KIB
    """Bytes a second that a body must bring, while it is wanted. A slower upload is cut off; a resumable one goes on where it
    was."""
    body_seconds: float = 30.0
    """Seconds over which that is measured."""
    reading_seconds: float = 120.0
    """Seconds for which a client may read nothing of its answer while some waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The training service: how many jobs at a time, what one may use at most, and what is kept of it."""

    parallel: int = 1
    """Jobs that run at one time in one process. One: they compete with the platform's own work for the same cores."""
    memory: int = 16 * 1024 * MIB
    """Bytes of memory a recipe may ask for."""
    cpus: float = 16
    """Processor cores a recipe may ask for."""
    processes: int = 1024
    """Processes and threads a recipe may ask for."""
    seconds: float = 7 * 86_400
    """Seconds of wall time a recipe may ask for. A week: longer than any training on one machine should be left alone."""
    output_bytes: int = 64 * 1024 * MIB
    """Bytes of output a recipe may ask for."""
    output_files: int = 10_000
    """Output files a recipe may ask for."""
    log_bytes: int = 64 * MIB
    """Bytes of log a recipe may ask for."""
    code_bytes: int = 256 * MIB
    """Bytes of a code archive when it is unpacked. Code, not data: those are datasets."""
    code_files: int = 10_000
    """Files in a code archive."""
    queued: int = 1000
    """Jobs of one company that may wait at one time."""
    attempts: int = 10
    """Attempts a job may ask for."""
    failures: int = 5
    """How often the platform itself may fail at a job (its disk, its network, killed while it ran) before the job counts as
    failed, so that a job that brings the platform down does not do so for ever."""
    pause: float = 2.0
    """Seconds before a job is tried again, doubled with each failure, at most five minutes."""
    lease: float = 30.0
    """Seconds without a sign of life after which a worker on another machine counts as dead. Five missed signs."""
    look: float = 1.0
    """Seconds between looks at the table: what other processes queued, cancelled, or left behind is seen then."""
    log_age: float = 30 * 86_400
    """Seconds for which the log of an ended job is kept."""
    log_size: int = 256 * MIB
    """Bytes of one company's logs above which its oldest go. They also go where its contents leave less of its quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSettings:
    """The store of datasets' and models' content."""

    quota: int = 0
    """Bytes one company may keep, uploads under way included; 0: no limit but the disk's, which is one person's on a laptop."""
    upload_bytes: int = 0
    """Bytes of the largest file somebody may send, resumable or in a form; 0: no limit but the quota."""
    upload_age: float = 7 * 86_400.0
    """Seconds after which an upload nobody went on with is forgotten. A week bridges a holiday."""
    uploads: int = 1_000
    """Uploads of one company that are not registered yet; one more is refused, so that nobody fills the disk with names."""
    writers: int = 64
    """Uploads written at one time, of all companies; one more is told to try again. Each may hold 16 MiB and three threads.
    A company may have half of what the others leave: some are always free for one that has none."""
    checkpoint_bytes: int = 64 * MIB
    """Bytes of a resumable upload after which what came is synced and noted: what has to be sent again after a crash."""
    checkpoint_seconds: float = 2.0
    """The same in seconds, for slow clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionSettings:
    """What a look into somebody's file may use. It runs in a sandbox; over a bound the file stays, without statistics."""

    seconds: float = 600.0
    """Wall time. A CSV of 1 GB takes about a minute of one core."""
    memory_bytes: int = 1024 * MIB
    """Memory of the whole sandbox. Files are read in pieces, so that it does not grow with them."""
    file_bytes: int = 64 * MIB
    """Bytes of one file in an archive that has to be read whole: an image, a model's configuration, a pickle."""
    answer_bytes: int = 1 * MIB
    """Bytes of an answer; a larger one is not read. 512 columns and a matrix of 64 take about 300 KiB."""
    columns: int = 512
    """Columns, or features of the last axis of an array, of which each gets figures of its own: the first ones."""
    matrix: int = 64
    """Numeric columns in the covariance and correlation matrices: the first ones. 64 make 4,096 cells each."""
    listed: int = 10_000
    """Columns a table may have at all."""
    line_bytes: int = 2 * MIB
    """Bytes of the longest line of a CSV file."""
    members: int = 200_000
    """Files in an archive of images."""
    pixels: int = 64_000_000
    """Pixels of an image that is decoded; a larger one is named and left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationSettings:
    """Where claims are recorded, and how."""

    ledger: str = ""
    """embedded: a chain of our own in DATA/ledger; memory: one that is gone with the process, for tests; none: nothing is
    recorded. "": embedded if its libraries are installed (`headrace[chain]`), else none."""
    batch_leaves: int = 256
    """Claims of snapshots after which a batch is closed and anchored. One transaction then costs each of them almost nothing."""
    batch_seconds: float = 2.0
    """Seconds after which a batch is closed though it is not full: what a snapshot waits for its anchoring at most."""
    claim_bytes: int = 16 * KIB
    """Bytes of a claim or result on the ledger. The largest parts of a longer one (statistics, recipe, files) stand there by
    their digests only: each byte there is kept for ever, by everybody who keeps the chain, and no quota counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationSettings:
    """Translations of models to ONNX: how many at a time, and what one may use. Each runs in a sandbox."""

    parallel: int = 1
    """Translations at one time. One: they compete with training and the platform's own work for the same cores."""
    waiting: int = 4
    """Translations of one company that may wait for their turn; one more is told to come again. Companies take turns."""
    seconds: float = 600.0
    """Wall time of one. The GRU of the examples takes about 3 s; the slower exporter of PyTorch up to 90 s on a busy machine."""
    memory_bytes: int = 4 * 1024 * MIB
    """Memory of the whole sandbox, what it writes included. A framework takes 0.5 GB, a model is in it three times."""
    onnx_bytes: int = 512 * MIB
    """Bytes of the largest ONNX file; the format itself ends at 2 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedSettings:
    """Registered ONNX models that answer at the inference doors."""

    count: int = 64
    """Deployments of one company."""
    bytes: int = 256 * MIB
    """Bytes of one model's ONNX file: 64 million float32 weights. Each is kept in the company's folder."""
    total: int = 4096 * MIB
    """Bytes of all of one company; they are beside its quota."""
    memory: int = 4096 * MIB
    """Bytes of memory of the process that runs those of the first company, without what it maps from files; 0: no limit. Of other
    companies it is `ConfinedSettings.memory`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibrarySettings:
    """Datasets, models and jobs."""

    artifacts: ArtifactSettings = ArtifactSettings()
    """The store of contents."""
    inspection: InspectionSettings = InspectionSettings()
    """What a look into somebody's file may use."""
    training: TrainingSettings = TrainingSettings()
    """The queue of jobs."""
    verification: VerificationSettings = VerificationSettings()
    """The ledger."""
    translation: TranslationSettings = TranslationSettings()
    """Translations to ONNX."""
    deployed: DeployedSettings = DeployedSettings()
    """Registered models that answer at the inference doors."""
    parent_bytes: int = 16 * MIB
    """Bytes of the weights an online model may start from. They travel in the log: 4 million float32 numbers, 800 times
    the chapter's GRU."""
    snapshots_kept: int = 200
    """Snapshots of one online model whose weights are kept, the newest; of older ones the record stays, with their digest and
    what the ledger says of it. 0: what online models publish is not registered at all, and the log is not hashed for it."""
    registrations: int = 10_000
    """Datasets and models one company may register within 24 hours, translations included; and of snapshots as many besides, but
    for the platform's own company. What the ledger has of each stays for ever, also when the asset is deleted, and is in no
    quota. 0: no limit."""
    unsafe: bool = False
    """Run other people's code without a sandbox. Off: it could read and change everything the platform can. Only on loopback, and
    only with a single company."""


ISSUER = "http://127.0.0.1:8080"
"""Where tokens come from, unless said otherwise: the platform's usual address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """`headrace serve`: one service alone in its process."""

    service: str
    """sharing, training, translation, identity or verification."""
    data: Path = Path("data")
    """Data directory; the same for all services of a platform on one machine."""
    host: str = "127.0.0.1"
    """Address of its door. Loopback, because HTTP is not encrypted."""
    port: int = 0
    """TCP port; 0 takes a free one."""
    http: HttpSettings = HttpSettings()
    """Connections of its door."""
    sharing: str = ""
    """URL of the sharing service; training, translation and verification need it."""
    verification: str = ""
    """URL of the verification service, for sharing; without one, nothing is recorded on a ledger."""
    training: str = ""
    """URL of the training service, for sharing; without one, models with a recipe are refused."""
    identity: str = ""
    """URL of the identity service as its tokens name it; "": its own address, and for the others `ISSUER`."""
    library: LibrarySettings = LibrarySettings()
    """Datasets, models and jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinedSettings:
    """What the processes that run the code of a company other than the first may use; one that is over is ended, and says so."""

    memory: int = 1024 * MIB
    """Bytes of memory of one process of a company (a worker, the explainer, the one that answers) with all it starts. With torch
    one takes 350 MB, with Captum 530."""
    processes: int = 128
    """Processes and threads of one. A worker has three threads, numeric libraries one more per core."""
    cpus: float = 1.0
    """Processor cores of one, where there are control groups. A learner computes on one thread."""
    company_memory: int = 4096 * MIB
    """Bytes of memory of all processes of a company together, where there are control groups: eight models with torch."""
    company_processes: int = 1024
    """Processes and threads of all of them together, where there are control groups."""
    company_cpus: float = 2.0
    """Processor cores of all of them together, where there are control groups: one learns while another answers."""
    seconds: float = 10.0
    """Seconds one question to a model may take, the start of the process that answers included (about one); then it is ended."""
    file: int = 4 * 1024 * MIB
    """Bytes of the largest file one may write. State files keep bounded numbers of predictions, far below."""
    folder: int = 20 * 1024 * MIB
    """Bytes in a company's folder, its log included: twice what the log keeps by default. Over it, its workers are stopped."""
    files: int = 200_000
    """Files in a company's folder, for a disk also runs out of those. A model has a few, and one object per snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """`headrace up`: one process and its workers on embedded defaults."""

    data: Path = Path("data")
    """Data directory: the log and everything derived from it. One platform at a time."""
    http_host: str = "127.0.0.1"
    """Address of the HTTP door. Loopback, because HTTP is not encrypted."""
    http_port: int = 8080
    """TCP port; 0 takes a free one."""
    http_names: tuple[str, ...] = ()
    """Host names, besides this machine's own, under which pages may be asked for."""
    http: HttpSettings = HttpSettings()
    """Connections of the HTTP door."""
    mqtt: MqttSettings = MqttSettings()
    """The MQTT door."""
    library: LibrarySettings = LibrarySettings()
    """Datasets, models and jobs."""
    broker: str = ""
    """Also take messages from this external broker, mqtt://user:password@host:port. Its acknowledgement is weaker:
    what it acknowledged and lost before we read it is lost."""
    broker_topics: tuple[str, ...] = ("#",)
    """Topic filters subscribed on the external broker."""
    body_limit: int = 16 * MIB
    """Bytes of the largest HTTP body accepted, also after decompression. A day of 1-second readings is about 8 MiB."""
    partitions: int = 1
    """Partitions of each stream. One, because one machine's learners read them all anyway."""
    retention_age: float = 0
    """Seconds after which records may be deleted; 0: never, because only a whole log can rebuild every model."""
    retention_size: int = 10 * 1024 * MIB
    """Bytes of log above which the oldest records may be deleted (never before every learner has passed them); 0: no
    limit. 10 GiB hold about 60 million readings."""
    companies: int = 32
    """Companies open at one time, the first one included; one more is refused until one is deleted. Each costs a worker process
    of some 60 MB."""
    confined: ConfinedSettings = ConfinedSettings()
    """What the processes of each company but the first may use."""
    open: bool = False
    """Ask nobody who he is: every HTTP request and MQTT client may do everything. Only on loopback with no other company."""
    retention_seconds: float = 60.0
    """Seconds between looks at what may be deleted."""
    webhook_private: bool = False
    """Send alerts to loopback, link-local and private addresses too. Off, because whoever may apply a spec could otherwise
    have this machine call services that only it can reach."""
    webhook_key_variable: str = "HEADRACE_WEBHOOK_SECRET"
    """Name of the environment variable with the key that signs webhooks (header ``Headrace-Signature``); unsigned while
    there is none. A name and not the key itself, so that no file, list of processes or error shows it."""
    checkpoint_seconds: float = 5.0
    """Seconds between a busy learner's checkpoints: what it computes again after a crash."""
