"""Whom a caller's attributes say it spoke to, by the stable and the older semantic conventions, in few distinct names.

A name never holds a URL, a user, a password, an id or an IP address: hosts lose the labels that look generated, other names the parts.
The address (``host:port``) stays exact: it is what a service of ours is recognised by, and is never shown.
Sources: OpenTelemetry semantic conventions for HTTP, RPC, databases, messaging and peer services, 1.20 to 1.39.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from ctrlplane_stream.telemetry.half import Kind, Peer, PeerKind
from ctrlplane_stream.telemetry.origins import text

NAMES = ("service.peer.name", "peer.service")
PEER_NAMESPACE = ("service.peer.namespace",)
HOSTS = ("server.address", "net.peer.name", "net.sock.peer.name", "http.host")
PORTS = ("server.port", "net.peer.port")
CONNECTED = ("network.peer.address", "net.peer.ip", "net.sock.peer.addr")
"""Where a connection led, if one was made. So any name that is there already before goes first: a call that failed has no other."""
CONNECTED_PORTS = ("network.peer.port", "net.sock.peer.port")
DATABASES = ("db.system.name", "db.system")
NAMESPACES = ("db.namespace", "db.name")
DESTINATIONS = ("messaging.destination.template", "messaging.destination.name", "messaging.destination")
OPERATIONS = ("messaging.operation.type", "messaging.operation")
EPHEMERAL = ("messaging.destination.temporary", "messaging.destination.anonymous")
OTHERS = ("rpc.service", "messaging.system", "error.type")
URLS = ("url.full", "http.url")

_OF_HOSTS = HOSTS + PORTS + URLS + CONNECTED + CONNECTED_PORTS
KEYS = frozenset(NAMES + PEER_NAMESPACE + _OF_HOSTS + DATABASES + NAMESPACES + DESTINATIONS + OPERATIONS + EPHEMERAL + OTHERS)
"""Every attribute that the engine reads of a span."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_IPV4 = r"(?<![\w.])\d{1,3}(?:[.-]\d{1,3}){3}(?!\w)"
_DATE = r"\d{4,}(?:[-_]\d\d){0,2}(?!\d)|\d{4,}"
_GENERATED = re.compile(
    f"{_UUID}|{_IPV4}|{_DATE}" + r"|(?=[0-9a-f]*\d)[0-9a-f]{8,}|(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,}", re.IGNORECASE
)
_SERVER_NAMED = re.compile(
    r"(\bamq\.gen-|\.gen-(?=\S*[A-Z0-9])|\.anonymous\.(?=\S*[A-Z0-9])|\bamq\.rabbitmq\.reply-to\.|^_INBOX\.|^ID:)\S+"
)
"""Queues that a broker or a client library named: RabbitMQ, Spring, NATS, JMS."""
_USER = re.compile(
    r"^[^:]*:.*@|^[^/@]+/.*@(?=(?://)?[^/@:\s]+(?::\d{1,5}(?!\w)|/))|(?<![^/\s])[^/@\s]+@(?=(?:[\w-]+\.)+[a-z]{2,}(?![\w.-]))",
    re.IGNORECASE | re.DOTALL,
)
"""``user:password@`` at the beginning, ``user/password@`` before what has a port or a path, and the user of a mail address. Passwords hold
any character, so what is cut ends at the last ``@``."""
_USER_OF_DATABASE = re.compile(r"^[^/@]+/.*@", re.DOTALL)
"""``user/password@`` before a name alone, as Oracle's: elsewhere that may be a name with its version (``shop/orders@v2``)."""
_VALUE = re.compile(r"[?=]")
"""Behind it are values, in a connection string (``Server=h;Password=…``) too: which of them are secret its keys say in many languages."""
_TARGET = re.compile(
    r"^(?:(?:dns|xds|passthrough|ipv[46]):(?!\d+$)(?://[^/]*/)?|(?!unix:|file:|sqlite:|https?:)[a-z][a-z\d+.-]*:///)([^/,]+).*",
    re.IGNORECASE,
)
"""A target as gRPC's channels are given one (``dns:///host:port``): the host is no authority, but behind it."""
_URL = re.compile(r"(?:https?:)?//(?:[^/?#]*@)?([^/?#]*)|/")
"""A usual URL, or a path alone."""
_TOPIC_SCHEMES = ("persistent://", "non-persistent://")
"""What Pulsar's topics begin with: tenant, namespace and name follow, and no host."""
_LONGEST = 120
SOCKET = "unix-socket"
"""What a file system path for a server's address is called: paths hold numbers, and tell nobody apart across machines."""


def attribute(raw: bytes) -> tuple[str, str] | None:
    """Key and text of a serialized KeyValue where the engine reads that key; None for others and for bytes that are no KeyValue."""
    try:
        pair = KeyValue.FromString(raw)
    except DecodeError:
        return None
    if pair.key not in KEYS:
        return None
    said = text(pair.value)
    return pair.key, host_of_url(said) if pair.key in URLS else said


def host_of_url(url: str) -> str:
    """A URL without all that does not name its host, where it is a usual one: what is left has few values."""
    found = _URL.match(url)
    return url if found is None else f"//{found[1] or ''}"


def collect(pairs: Iterable[tuple[str, str] | None]) -> dict[str, str]:
    """The attributes as a mapping; the first of a repeated key counts, empty values do not."""
    attributes: dict[str, str] = {}
    for pair in pairs:
        if pair is not None and pair[1]:
            attributes.setdefault(*pair)
    return attributes


def fetch_kind(attributes: Mapping[str, str]) -> Kind | None:
    """What a span is that only fetched messages (a consumer) or settled them (local work); None where it sent or processed some."""
    return {"receive": Kind.CONSUMER, "settle": Kind.INTERNAL}.get(_first(attributes, OPERATIONS))


def peer_of(attributes: Mapping[str, str]) -> Peer | None:
    """The peer that a caller's or consumer's attributes name, or None where they name nobody."""
    host, port = _host_and_port(attributes)
    address = f"{host}:{port}" if host and port else host
    said = _service_name(attributes)
    named = _shown(said)
    exact = said if "@" not in said and "://" not in said else named
    if exact != named:
        address = address or exact
    database = _first(attributes, DATABASES)
    if database:
        return Peer(PeerKind.DATABASE, named or _database_name(_plain(database), attributes, host), address)
    system = attributes.get("messaging.system", "")
    if system or _first(attributes, DESTINATIONS):
        destination = _destination_name(system, attributes)
        return Peer(PeerKind.DESTINATION, destination, destination)
    rpc = _shown(attributes.get("rpc.service", ""))
    name = (named or _host_name(host) or rpc)[:_LONGEST]
    key = address or name
    return Peer(PeerKind.EXTERNAL, name, address, exact if exact != key else "", rpc if rpc != key else "") if name else None


def _first(attributes: Mapping[str, str], keys: Iterable[str]) -> str:
    return next((attributes[key] for key in keys if key in attributes), "")


def _service_name(attributes: Mapping[str, str]) -> str:
    """The peer's logical name where a person gave it, written as our services are: ``namespace/name``."""
    name, namespace = attributes.get("service.peer.name", ""), attributes.get("service.peer.namespace", "")
    return f"{namespace}/{name}" if name and namespace else name or attributes.get("peer.service", "")


def _host_and_port(attributes: Mapping[str, str]) -> tuple[str, str]:
    host, port = _first(attributes, HOSTS), _first(attributes, PORTS)
    if not host:
        of_url = _from_url(_first(attributes, URLS), port)
        if of_url[0]:
            return of_url
        host = _first(attributes, CONNECTED)
    port = port or _first(attributes, CONNECTED_PORTS)
    if not host or _is_url(host.removeprefix("unix://")):
        return _from_url(host, port)
    host, *options = re.split(r"[?#;=\s]", host, maxsplit=1)
    if any("@" in option for option in options):
        return "", ""
    host = host.rpartition("@")[2]
    if "/" in host:
        return host, ""
    if host.startswith("["):
        return _from_url(f"//{host}", port)
    if host.count(":") == 1:
        host, _, own = host.partition(":")
        port = port or own
    return host.lower().rstrip("."), port


def _is_url(name: str) -> bool:
    return "://" in name or _TARGET.match(name) is not None


def _from_url(url: str, port: str) -> tuple[str, str]:
    url = _TARGET.sub(r"//\1", url)
    try:
        parts = urlsplit("//" + url.partition("://")[2] if "://" in url else url)
        return (parts.hostname or "").lower().rstrip("."), port or str(parts.port or "")
    except ValueError:
        return "", port


def _database_name(system: str, attributes: Mapping[str, str], host: str) -> str:
    namespace = _first(attributes, NAMESPACES) or _host_name(host)
    named = namespace if "://" in namespace else _USER_OF_DATABASE.sub("", namespace)
    return f"{system}/{_plain(named)}"[:_LONGEST] if namespace else system


def _destination_name(system: str, attributes: Mapping[str, str]) -> str:
    if "true" in {attributes.get(key, "").lower() for key in EPHEMERAL}:
        return f"{system or 'messaging'}/temporary"
    destination = _first(attributes, DESTINATIONS)
    return "/".join(part for part in (system, _plain(destination)) if part)[:_LONGEST]


def _host_name(host: str) -> str:
    """A host as a name: IP addresses and sockets become one word each, labels that look generated become ``*``."""
    if not host or "/" in host:
        return SOCKET if host else ""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ".".join("*" if "*" in label else label for label in _GENERATED.sub("*", host).split("."))
    return "ip-address"


def _shown(name: str) -> str:
    """A name that somebody gave, fit to be shown: of a URL its host, else without what looks generated in it."""
    if not name:
        return ""
    return _host_name(_from_url(name, "")[0]) if _is_url(name) else _plain(name)[:_LONGEST]


def _plain(name: str) -> str:
    """A name without user, password and values, and without what looks generated in it; of a URL what its path ends with, else its host.

    An ``@`` among the values may be a password's end, of which those are a part: then nothing is shown of what may be its beginning.
    """
    if "://" in name and not name.startswith(_TOPIC_SCHEMES):
        return _end_of_url(name.partition("://")[2].partition(";")[0])
    head, *values = _VALUE.split(name, maxsplit=1)
    if "@" in "".join(values) and not {":", "/"}.isdisjoint(head):
        return "*"
    return _masked(_USER.sub("", head)) + ("=*" if name[len(head) :].startswith("=") else "")


def _end_of_url(rest: str) -> str:
    """See :func:`_plain`, of what follows the scheme. An ``@`` behind the host may belong to a password: then nothing is shown."""
    authority, slash, behind = re.split("([/?#]|$)", rest, maxsplit=1)
    path = re.split("[?#]", behind)[0].rstrip("/") if slash == "/" else ""
    if "@" in behind:
        return "*"
    return _masked(path.rpartition("/")[2]) or _host_name(_from_url(f"//{authority}", "")[0]) or "*"


def _masked(name: str) -> str:
    return _GENERATED.sub("*", _SERVER_NAMED.sub(r"\1*", name))
