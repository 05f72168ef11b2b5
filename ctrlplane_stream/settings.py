"""What a running part is told from outside: frozen, each field with meaning, unit, default and why.

A field ``kafka_…`` is read from the environment variable of its upper-case name, any other from ``CTRLPLANE_`` and its
upper-case name; a flag (``commands/options.py``) wins over both. What the rollout policy or the catalog decides is not
here: settings say how *this process* runs and never change a decision. Secrets print as ``***``, whoever prints them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec


class SettingsError(ValueError):
    """A setting has a value that it cannot have; the text names the flag or the variable that said so."""


class Protocol(StrEnum):
    """How to reach the broker, in Kafka's words."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """How to authenticate to the broker, in Kafka's words."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


def _meta(what: str, *, unit: str = "", why: str, secret: bool = False, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=what, extra={"unit": unit, "why": why, "secret": secret}, **bounds)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a part of the program is told from outside."""

    kafka_bootstrap_servers: Annotated[
        str,
        _meta("Brokers to start from", unit="host:port, comma-separated", why="Empty: the demo and the tests start a broker of their own"),
    ] = ""
    kafka_security_protocol: Annotated[
        Protocol, _meta("How to reach the broker", why="As a local broker is; anything shared deserves SASL_SSL")
    ] = Protocol.PLAINTEXT
    kafka_sasl_mechanism: Annotated[
        SaslMechanism, _meta("How to authenticate where the protocol says SASL", why="The strongest that both Kafka and its client know")
    ] = SaslMechanism.SCRAM_SHA_512
    kafka_sasl_username: Annotated[str, _meta("User for SASL", why="Nobody by default")] = ""
    kafka_sasl_password: Annotated[str, _meta("Password for SASL", secret=True, why="Never given as a flag: process lists show flags")] = ""
    kafka_ssl_cafile: Annotated[
        str, _meta("Certificates that may sign the broker's", unit="path, PEM", why="Empty: those that the system trusts")
    ] = ""
    kafka_ssl_certfile: Annotated[str, _meta("Our certificate, for mutual TLS", unit="path, PEM", why="Empty: no client certificate")] = ""
    kafka_ssl_keyfile: Annotated[
        str, _meta("The key of our certificate", unit="path, PEM", why="Empty: the key is in the certificate's file")
    ] = ""
    kafka_ssl_password: Annotated[str, _meta("Passphrase of that key", secret=True, why="Empty: the key is not encrypted")] = ""
    kafka_ssl_check_hostname: Annotated[
        bool, _meta("Whether the broker's certificate must name its host", why="Without it TLS stops no one in the middle")
    ] = True
    topic_prefix: Annotated[
        str,
        _meta(
            "Put before every topic and consumer group",
            why="Empty: one installation per cluster; set it where several share a broker",
            pattern="^[a-zA-Z0-9._-]*$",
            max_length=100,
        ),
    ] = ""
    partitions: Annotated[
        int,
        _meta(
            "N: partitions of every topic",
            why="One environment lives on one partition, and workers scale to N; changing it later is a migration, so not too few",
            ge=1,
            le=1000,
        ),
    ] = 8
    replication_factor: Annotated[
        int,
        _meta(
            "Copies of each topic that `topics apply` makes", why="1 works on a single broker; 3 on a cluster, with 2 in sync", ge=1, le=9
        ),
    ] = 1
    session_timeout_seconds: Annotated[
        float,
        _meta(
            "How long a silent worker keeps its partitions",
            unit="s",
            why="6 s is the broker's lower bound: a killed worker is replaced in 5 s instead of 60 s with the client's default",
            ge=1,
        ),
    ] = 6.0
    instance: Annotated[
        str,
        _meta(
            "A name that this worker keeps across restarts (static membership)",
            why="Empty: a new member each time. Named, a quick restart moves no partition",
        ),
    ] = ""
    batch_records: Annotated[
        int,
        _meta("Most records that an agent takes at once", unit="records", why="Bounds what a crash repeats; larger gains little", ge=1),
    ] = 500
    batch_seconds: Annotated[
        float,
        _meta(
            "How long spans that were read may wait for others before they are worked on",
            unit="s",
            why="Many at once cost a third. No window waits for it, since what is read is worked on at once when one may close",
            ge=0,
        ),
    ] = 1.0
    stall_seconds: Annotated[
        float,
        _meta(
            "After this long with lag and no commit the worker exits, to be restarted",
            unit="s; 0: never",
            why="Consumers have been seen to stall for good; a restart is cheap and a false alarm harmless",
            ge=0,
        ),
    ] = 120.0
    window_seconds: Annotated[
        int,
        _meta(
            "Length of a telemetry window",
            unit="s",
            why="Short enough to stop a bad step early, long enough for counts that mean something",
            ge=1,
            le=3600,
        ),
    ] = 10
    lateness_seconds: Annotated[
        float,
        _meta(
            "How long after a window's end its spans may still come and be on time",
            unit="s",
            why="The SDKs export every 5 s and the Collector batches again; shorter makes verdicts faster and more of the spans late",
            ge=0,
        ),
    ] = 10.0
    pairing_seconds: Annotated[
        float,
        _meta(
            "How long after its last span a trace is kept for halves still to come",
            unit="s",
            why="The longest common timeout of a client",
            ge=0,
        ),
    ] = 30.0
    pairing_spans: Annotated[
        int,
        _meta(
            "Most spans that a worker keeps for pairing, an equal share of each partition; beyond it the oldest go first, and are counted",
            unit="spans",
            why="100 bytes each in usual traces, 1 kB in others, 4 kB with long names of their own: orphans took a worker to 1.3 GB",
            ge=1,
        ),
    ] = 2_000_000
    sampling_multiplier: Annotated[
        float,
        _meta(
            "Calls that a span stands for whose trace state names no sampling threshold (`ot=th:…`)",
            why="1: everything is recorded. Where SDKs keep one trace in ten without saying so, 10 makes rates right again",
            ge=1,
        ),
    ] = 1.0
    default_environment: Annotated[
        str, _meta("Environment of spans whose resource names none", why="OpenTelemetry does not make it mandatory", min_length=1)
    ] = "default"
    host_url: Annotated[
        str,
        _meta("The process host that the process actuator talks to", unit="URL", why="Where `ctrlplane-stream host` listens by default"),
    ] = "http://127.0.0.1:8570"
    kubernetes_placement: Annotated[
        str,
        _meta(
            "The file that says in which cluster and namespace the Kubernetes actuator finds each target",
            unit="path",
            why="Empty: nothing here is rolled out on Kubernetes",
        ),
    ] = ""
    gitops_placement: Annotated[
        str,
        _meta(
            "The file that says which field of which repository the GitOps actuator writes for each target",
            unit="path",
            why="Empty: nothing here is rolled out by commits",
        ),
    ] = ""
    gitops_folder: Annotated[
        str,
        _meta(
            "Where the GitOps actuator keeps its bare clones",
            unit="path",
            why="Empty: ~/.cache/ctrlplane-stream/gitops. Nothing in it is worth keeping, but fetching all of a history again takes time",
        ),
    ] = ""
    gitops_token: Annotated[
        str,
        _meta(
            "Token for repositories over HTTPS",
            secret=True,
            why="Empty: what git's credential helpers know. One for all of them; never part of a URL, since URLs are logged",
        ),
    ] = ""
    gitops_look_seconds: Annotated[
        float,
        _meta(
            "How old a look at a branch may be when nothing is written",
            unit="s",
            why="A request a repository and interval, however many targets it has; a commit by hand shows within it",
            ge=0,
        ),
    ] = 15.0
    redis_url: Annotated[
        str,
        _meta(
            "Where the project role keeps what readers ask for",
            unit="redis:// or rediss:// URL",
            secret=True,
            why="Empty: topics only. Secret, because a URL may carry a password",
            pattern="^$|^(redis|rediss)://",
        ),
    ] = ""
    metrics_port: Annotated[
        int, _meta("Loopback port of Prometheus metrics", unit="port; 0: none", why="Nothing listens unless asked to", ge=0, le=65535)
    ] = 0
    log_level: Annotated[
        str, _meta("Least severe level that is logged", why="One line per decision and per trouble", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    ] = "INFO"
    log_format: Annotated[LogFormat, _meta("How log lines look", why="Machines read the logs of a worker more often than people")] = (
        LogFormat.JSON
    )

    def __repr__(self) -> str:
        """Every field that is not at its default, secrets as ``***``."""
        shown = (f"{name}={value!r}" for name, value in self.shown().items() if value != _default(name))
        return f"Settings({', '.join(shown)})"

    __str__ = __repr__

    def shown(self) -> dict[str, Any]:
        """Every field and its value as it may be printed: ``***`` in place of a secret that is set."""
        return {s.name: "***" if s.secret and getattr(self, s.name) else getattr(self, s.name) for s in SETTINGS}

    def variables(self) -> dict[str, str]:
        """What a process is told to have these settings, secrets in plain text: a variable for each that is not at its default."""
        values = ((s.variable, getattr(self, s.name)) for s in SETTINGS if getattr(self, s.name) != s.default)
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values}

    def topic(self, name: str) -> str:
        """The name of one of our topics on the broker."""
        return f"{self.topic_prefix}{name}"


class Setting(msgspec.Struct, frozen=True):
    """One field of Settings as people meet it: its variable, meaning, unit, default and why."""

    name: str
    variable: str
    what: str
    unit: str
    why: str
    secret: bool
    default: Any


def variable(name: str) -> str:
    """The environment variable of a field."""
    return name.upper() if name.startswith("kafka_") else f"CTRLPLANE_{name.upper()}"


def flag(name: str) -> str:
    """The command line's option of a field."""
    return f"--{name.replace('_', '-')}"


def load(environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Settings:
    """Settings from the environment, with ``flags`` (field to value, None: not given) on top; raises SettingsError.

    An empty variable is one that is not set. A ``CTRLPLANE_…`` variable of no field is left alone: it may be meant for
    another version of the program.
    """
    given: dict[str, object] = {s.name: environ[s.variable] for s in SETTINGS if environ.get(s.variable)}
    typed = {name: value for name, value in (flags or {}).items() if value is not None}
    given |= typed
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError as error:
            where = flag(name) if name in typed else variable(name)
            raise SettingsError(f"{where}: {_said(name, value)}{_wanted(name, error)}") from None
    return msgspec.convert(given, Settings, strict=False)


def _said(name: str, value: object) -> str:
    """What was given, so that nobody has to guess where it came from; nothing of a secret."""
    return "" if next(s.secret for s in SETTINGS if s.name == name) else f"{value!r} cannot be. "


def _wanted(name: str, error: Exception) -> str:
    """What can be instead."""
    default = _default(name)
    return f"It is one of {', '.join(type(default))}" if isinstance(default, StrEnum) else str(error).split(" - at ")[0]


def _default(name: str) -> Any:
    return next(s.default for s in SETTINGS if s.name == name)


def _settings() -> tuple[Setting, ...]:
    info = msgspec.inspect.type_info(Settings)
    assert isinstance(info, msgspec.inspect.StructType)
    found = []
    for field in info.fields:
        assert isinstance(field.type, msgspec.inspect.Metadata)
        extra, schema = field.type.extra or {}, field.type.extra_json_schema or {}
        found.append(
            Setting(field.name, variable(field.name), schema["description"], extra["unit"], extra["why"], extra["secret"], field.default)
        )
    return tuple(found)


SETTINGS: tuple[Setting, ...] = _settings()
"""Every setting, in the order of their declaration."""
