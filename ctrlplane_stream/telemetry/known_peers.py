"""Which service stands behind an address: by the catalog, or learned from calls whose two halves were matched.

What was learned carries the window it was learned in, and where it had to make room, the window from which it is forgotten. A
reader that repeats old records with the memory of today therefore sees at each window exactly what was known then,
which a restart from a checkpoint needs. So what was forgotten is learned again only once nobody asks about the time before, and nothing
new while more than can be remembered would have to be: a memory that is too small for what is called in turn keeps what it has, instead of
forgetting each just before it is called.

A caller knows what answered it. Where nothing did, it is told what answered all others, if that was one and the same service: the first
calls of a new caller may meet a dead candidate. But an address of the caller's own machine (loopback) means another place to each. So who
was answered by itself, or by what it found on its own machine (its sidecar), tells nobody else of that, whatever it calls it by.

An address behind which two services were seen (a gateway) is nobody's, until one of them was not seen there for as long as a rebuilt
stage may go back while the other was: an address is given to another instance.

What is forgotten depends on what was seen in which window, never on the order within one: that is each engine's own.
"""

import ipaddress
from bisect import insort
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from operator import attrgetter

import msgspec

from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind

_OUTSIDE = ""
"""Stands for "nobody of ours": calls to the address were never answered by a span; of a destination, nobody is known to produce to it."""


class Sighting(msgspec.Struct, frozen=True, order=True, array_like=True):
    """``service`` was first seen behind ``address``, spoken to by ``caller``, in ``window``; empty service: nobody of ours.

    ``last`` is the window it was last seen in, ``until`` the first in which it is not known any more, ``displaced`` from which window on
    (and until before which) another service is behind the address in its place.
    """

    environment: str
    caller: str
    address: str
    service: str
    window: int
    last: int = 0
    until: int | None = None
    displaced: tuple[int, int | None] | None = None


_Key = tuple[str, str, str]
_Place = tuple[str, str, str, str]
_LOOPBACK_NAMES = frozenset({"localhost", "localdomain", "ip6-localhost", "ip6-loopback"})
"""What names of the loopback address end with."""
_DROPPED = -(1 << 62)
"""Stands for a time so long ago that nothing is remembered of it."""


class Seen(msgspec.Struct, gc=False):
    """What is remembered, by ``place``: environment, caller, address and service. The rest is as in :class:`Sighting`."""

    place: _Place
    first: int
    last: int
    until: int | None = None
    displaced: tuple[int, int | None] | None = None

    @property
    def dropped(self) -> bool:
        """Whether it is held no longer, and has to be learned anew."""
        return self.until == _DROPPED

    def sighting(self) -> Sighting:
        """As it is written down."""
        return Sighting(*self.place, self.first, self.last, self.until, self.displaced)


_BY_PLACE = attrgetter("place")
_BY_END = attrgetter("until", "place")


Catalogs = tuple[tuple[int, Mapping[str, str]], ...]
"""The names and addresses of catalogs, each with the first window in which they are known, in order."""

_MOST_CATALOGS = 8
"""That are remembered, the last one and those before it: the checkpoint holds them."""


class KnownPeers:
    """The catalog's names and addresses, and at most ``most`` learned sightings, twice as many
    that are forgotten and may still be asked for, and what is learned within one window: of outsiders, ``most``, the first by name.

    While ``most`` are forgotten besides nothing new is learned, so what is too much comes in one window. Where it brings more than ``most``
    of ours, what was forgotten first is dropped though it may be asked for: the checkpoint holds them all.

    ``forgotten`` counts those of ours that had to make room.
    """

    def __init__(
        self, catalog: Mapping[str, str], most: int, learned: tuple[Sighting, ...] = (), shared_from: int = 0, catalogs: Catalogs = ()
    ) -> None:
        """From the window ``shared_from`` on callers are told what answered others: not before, where a build that did not tell them
        published what it made of it. ``catalogs`` stand for ``catalog`` where there are any, until another one is known."""
        self._catalogs = catalogs or ((_DROPPED, catalog),)
        self.shared_from = shared_from
        self._most = most
        self._seen: dict[_Key, dict[str, Seen]] = {}
        self._shared: dict[_Key, dict[str, Seen]] = {}
        self._by_service: dict[tuple[str, ...], dict[_Place, Seen]] = {}
        self._by_host: dict[tuple[str, ...], dict[_Place, Seen]] = {}
        self._of_all: dict[tuple[str, ...], dict[_Place, Seen]] = {}
        self._of_all_by_host: dict[tuple[str, ...], dict[_Place, Seen]] = {}
        self._beside: dict[tuple[str, ...], dict[_Place, Seen]] = {}
        self._in_order: list[Seen] = []
        self._fresh: list[Seen] = []
        self._forgotten: deque[Seen] = deque()
        self._full = False
        self._dropped = False
        self._known_now = 0
        self._new_outside: list[Seen] = []
        self.forgotten = 0
        self.learning = True
        # False while a rebuilt stage repeats what it once knew: half-read traces must not teach it anything.
        for s in learned:
            self._hold(Seen((s.environment, s.caller, s.address, s.service), s.window, s.last or s.window, s.until, s.displaced))
        self._forgotten.extend(sorted((seen for seen in self._fresh if seen.until is not None), key=_BY_END))
        self._full = self._is_full()

    @property
    def catalogs(self) -> Catalogs:
        """The catalog, and those that it replaced and that may still be asked about."""
        return self._catalogs

    def know(self, catalog: Mapping[str, str], window: int) -> None:
        """From ``window`` on take these names and addresses for services of ours; what was said about windows before stays so."""
        if catalog != self._catalogs[-1][1]:
            before = [(since, one) for since, one in self._catalogs if since < window]
            self._catalogs = (*before[1 - _MOST_CATALOGS :], (window if before else _DROPPED, catalog))

    def _catalog_at(self, window: int) -> Mapping[str, str]:
        return next((catalog for since, catalog in reversed(self._catalogs) if since <= window), self._catalogs[0][1])

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        """Everything learned, in a fixed order."""
        return tuple([seen.sighting() for seen in self._ordered()])

    def settle(self, window: int, keep_windows: int, window_seconds: int) -> None:
        """Tell, once ``window`` is closed, who is behind an address from the next on, and where too much is known forget what is not
        ours, then what was not seen for longest: nobody who calls ever new addresses outside makes a service of ours unknown.

        What is forgotten stays to be asked for about the past for ``keep_windows``: as long as a rebuilt stage may go back.
        """
        if not self.learning:
            return
        before, end = window - keep_windows * window_seconds, window + window_seconds
        while len(self._catalogs) > 1 and self._catalogs[1][0] < before:
            self._catalogs = self._catalogs[1:]
        for of_key in self._shared.values():
            _displace(of_key, end, keep_windows * window_seconds)
        while self._forgotten and (self._forgotten[0].until or 0) < before:
            self._drop((self._forgotten.popleft(),))
        if self._known_now > self._most:
            self._make_room(end)
        self._full = self._is_full()
        self._new_outside = []

    def _is_full(self) -> bool:
        return self._known_now + len(self._forgotten) >= 2 * self._most

    def _make_room(self, end: int) -> None:
        """Forget from ``end`` on what is too much, and some more, so that it need not be done at every window.

        Outsiders take half of what may be remembered as forgotten. Where that is not enough, those that would be known from ``end`` on
        are not: nobody was told of them yet.
        """
        surplus = self._known_now - self._most
        room = max(0, self._most // 2 - len(self._forgotten))
        kept_out = min(max(0, surplus - room), len(self._new_outside))
        self._drop(self._new_outside[len(self._new_outside) - kept_out :])
        needed = surplus - kept_out
        leaving = self._by_age()[: needed + min(self._most // 8, max(0, room - needed))]
        for seen in sorted(leaving, key=_BY_PLACE):
            seen.until = end
            self._known_now -= 1
            self._forgotten.append(seen)
            self.forgotten += _is_ours(seen)
        while len(self._forgotten) > 2 * self._most:
            self._drop((self._forgotten.popleft(),))

    def _ordered(self) -> list[Seen]:
        """Everything, by place. It stays sorted from one time to the next, so that it costs little."""
        if self._fresh or self._dropped:
            held = [seen for seen in (*self._in_order, *self._fresh) if not seen.dropped]
            self._in_order, self._fresh, self._dropped = sorted(held, key=_BY_PLACE), [], False
        return self._in_order

    def _by_age(self) -> list[Seen]:
        """What is known: outsiders, then ours; by last sighting, of those the newest first, then by place."""
        known = [seen for seen in self._ordered() if seen.until is None]
        return sorted(known, key=lambda seen: (_is_ours(seen), seen.last, -seen.first))

    def _drop(self, dropped: Iterable[Seen]) -> None:
        """Hold them no longer."""
        for seen in dropped:
            self._known_now -= seen.until is None
            seen.until = _DROPPED
            environment, caller, address, service = seen.place
            of_key = self._seen[environment, caller, address]
            del of_key[service]
            if len(of_key) < 2:
                self._shared.pop((environment, caller, address), None)
            if not of_key:
                del self._seen[environment, caller, address]
            for index, key in self._indexed(seen):
                del index[key][seen.place]
                if not index[key]:
                    del index[key]
            self._dropped = True

    def _hold(self, seen: Seen) -> None:
        environment, caller, address, service = seen.place
        key = environment, caller, address
        of_key = self._seen.setdefault(key, {})
        of_key[service] = seen
        if len(of_key) > 1:
            self._shared[key] = of_key
        for index, at in self._indexed(seen):
            index.setdefault(at, {})[seen.place] = seen
        self._fresh.append(seen)
        self._known_now += seen.until is None

    def _indexed(self, seen: Seen) -> Iterator[tuple[dict[tuple[str, ...], dict[_Place, Seen]], tuple[str, ...]]]:
        """Where else a sighting is found: by its service, by its host where the address has a port; of services also whoever called."""
        environment, caller, address, service = seen.place
        host = address.rpartition(":")[0]
        if host:
            yield self._by_host, (environment, caller, host)
        if service:
            yield self._by_service, (environment, service)
        if not service or not caller:
            return
        if _is_on_own_machine(address):
            yield self._beside, (environment, caller, service)
            return
        yield self._of_all, (environment, address)
        if host:
            yield self._of_all_by_host, (environment, host)

    def service_behind(self, caller: Origin, peer: Peer | None, window: int) -> str | None:
        """The service that a caller's peer is, as known when ``window`` closed, or None."""
        if peer is None:
            return None
        also = (peer.said, peer.rpc) if peer.rpc and _is_nameless(peer.address) else (peer.said,)
        catalog = self._catalog_at(window)
        for name in (peer.name, peer.address, _host(peer.address), *also):
            if name and name in catalog:
                return catalog[name]
        if peer.kind is PeerKind.DESTINATION:
            return None
        found = self._at_address(caller, peer, window)
        if found is None:
            named = (self._one(self._known((caller.environment, caller.service, name), window)) for name in also if name)
            found = next((service for service in named if service is not None), None)
        if found is not None or peer.kind is PeerKind.DATABASE or window < self.shared_from:
            return found
        return self._of_others(caller, peer, also, window)

    def _of_others(self, caller: Origin, peer: Peer, also: Iterable[str], window: int) -> str | None:
        """The service that answered whoever was answered at a peer's address, or else where it was named the same.

        An IP address may be another's by now, so there the name goes first.
        """
        named = (self._agreed(self._there(self._of_all, caller, name, window), window) for name in also if name)
        at_address = self._agreed(self._others_at_address(caller, peer, window), window)
        found = (*named, at_address) if _is_nameless(peer.address) else (at_address, *named)
        service = next((service for service in found if service is not None), None)
        return None if service is None or _is_on_own_machine(peer.key) else service

    def _others_at_address(self, caller: Origin, peer: Peer, window: int) -> list[_Place]:
        """As :meth:`_at_address` and :meth:`_on_host`, whoever called. Where this caller found anything itself, if only that several are
        there or that it was given to another, that counts alone."""
        key, host = _key(caller, peer), _host(peer.key)
        if any(service != _OUTSIDE and _is_known(seen, window) for service, seen in self._seen.get(key, {}).items()):
            return []
        found = self._there(self._of_all, caller, peer.key, window)
        if not found and not self._on_ports(key, window):
            found = self._there(self._of_all_by_host, caller, peer.key, window)
        own_host = (*key[:2], host)
        if not found and not self._known(own_host, window) and not self._on_ports(own_host, window):
            found = self._there(self._of_all, caller, host, window)
            found += self._there(self._of_all_by_host, caller, host, window) if found else []
        return found

    def _agreed(self, found: Collection[_Place], window: int) -> str | None:
        """The only service that answered there, where it answered a caller that is another and does not have it beside itself."""
        services = {service for *_, service in found}
        if len(services) != 1 or all(self._is_beside(place, window) for place in found):
            return None
        return services.pop()

    def _is_beside(self, place: _Place, window: int) -> bool:
        environment, caller, _, service = place
        beside = self._beside.get((environment, caller, service), {})
        return caller == service or any(_is_known(seen, window) for seen in beside.values())

    @staticmethod
    def _there(index: Mapping[tuple[str, ...], Mapping[_Place, Seen]], caller: Origin, name: str, window: int) -> list[_Place]:
        return [place for place, seen in index.get((caller.environment, name), {}).items() if _is_there(seen, window)]

    def _at_address(self, caller: Origin, peer: Peer, window: int) -> str | None:
        """The service that a caller's peer is by its address, or by its name where a service is called so."""
        named = self._named(caller, peer, window)
        if named is not None and peer.name != _host(peer.address):
            return named
        key = _key(caller, peer)
        found = [service for service in self._known(key, window) if service != _OUTSIDE]
        if found or peer.kind is PeerKind.DATABASE:
            return self._one(found)
        return self._on_host(caller, peer, window) or named

    @staticmethod
    def _one(services: Collection[str]) -> str | None:
        """The only service of some, outsiders aside."""
        found = [service for service in services if service != _OUTSIDE]
        return found[0] if len(found) == 1 else None

    def _on_host(self, caller: Origin, peer: Peer, window: int) -> str | None:
        """The one service known on a peer's host: on any port where the peer has none; else where it answered without one, if this port
        was not seen to answer nobody."""
        key = _key(caller, peer)
        found = self._on_ports(key, window)
        if not found and not self._known(key, window):
            host = (*key[:2], _host(key[2]))
            found = {service for service in self._known(host, window) if service != _OUTSIDE}
            found |= self._on_ports(host, window) if found else found
        return found.pop() if len(found) == 1 else None

    def _on_ports(self, host: _Key, window: int) -> set[str]:
        return {seen.place[3] for seen in self._by_host.get(host, {}).values() if _is_there(seen, window)}

    def _named(self, caller: Origin, peer: Peer, window: int) -> str | None:
        """The service that the peer's name is, where a service of this name was known to answer in the caller's environment.

        Of a database the name is its own, however a service is called that keeps its data there.
        """
        if peer.kind is PeerKind.DATABASE:
            return None
        named = self._by_service.get((caller.environment, peer.name), {})
        return peer.name if any(_is_known(seen, window) for seen in named.values()) else None

    def is_outside(self, caller: Origin, peer: Peer, window: int) -> bool:
        """Whether a caller's peer was known, when ``window`` closed, never to have answered with a span."""
        return self._known(_key(caller, peer), window) == [_OUTSIDE] and not self.is_consumed(caller, peer, window)

    def is_consumed(self, producer: Origin, peer: Peer, window: int) -> bool:
        """Whether a caller's peer is a destination of which somebody of ours was known to consume, whoever produced."""
        if peer.kind is not PeerKind.DESTINATION:
            return False
        return bool(self._known(_of_destination(producer, peer), window)) or any(self._known(_key(producer, peer), window))

    def producer_of(self, consumer: Origin, peer: Peer | None, window: int) -> str | None:
        """The one service known to produce to a consumer's destination, or None where there is none or several."""
        if peer is None or peer.kind is not PeerKind.DESTINATION:
            return None
        return self._one(self._known(_of_destination(consumer, peer), window))

    def learn_consumer(self, consumer: Origin, peer: Peer | None, window: int) -> Seen | None:
        """Remember from a consumer's span that somebody of ours consumes of its destination; returns as :meth:`learn_pair`."""
        if peer is None or peer.kind is not PeerKind.DESTINATION:
            return None
        return self._remember(_of_destination(consumer, peer), _OUTSIDE, window)

    def learn_pair(self, caller: Origin, peer: Peer | None, callee: Origin, window: int) -> Seen | None:
        """Remember from a matched pair who stands behind the caller's address and what else it names, and who produces to its destination.

        Where that is one thing, it is returned: as long as it is not ``dropped``, to learn the pair again is to put its ``last`` forward.
        """
        if peer is None or not self.learning:
            return None
        seen = self._remember(_key(caller, peer), callee.service, window)
        if peer.kind is not PeerKind.DESTINATION:
            also = [name for name in (peer.said if peer.name != callee.service else "", peer.rpc) if name]
            for name in also:
                self._remember((caller.environment, caller.service, name), callee.service, window)
            return None if also else seen
        self._remember(_of_destination(callee, peer), caller.service, window)
        return None

    def learn_outside(self, caller: Origin, peer: Peer, window: int) -> None:
        """Remember that a call to the caller's peer was never answered, from ``window`` on."""
        key = _key(caller, peer)
        new = _OUTSIDE not in self._seen.get(key, ())
        seen = self._remember(key, _OUTSIDE, window)
        if new and seen is not None:
            insort(self._new_outside, seen, key=_BY_PLACE)
            self._drop(self._new_outside[self._most :])
            del self._new_outside[self._most :]

    def _known(self, key: _Key, window: int) -> list[str]:
        found = self._seen.get(key)
        if found is None:
            return []
        return [name for name, seen in found.items() if _is_there(seen, window)]

    def _remember(self, key: _Key, service: str, window: int) -> Seen | None:
        if not self.learning:
            return None
        found = self._seen.get(key)
        seen = found.get(service) if found is not None else None
        if seen is None:
            if self._full:
                return None
            seen = Seen((*key, service), window, window)
            self._hold(seen)
            return seen
        if seen.last < window:
            seen.last = window
        return seen


def _is_ours(seen: Seen) -> bool:
    """Whether it tells of a service of ours, or that somebody of ours consumes of a destination."""
    _, caller, _, service = seen.place
    return service != _OUTSIDE or not caller


def _is_known(seen: Seen, window: int) -> bool:
    return seen.first <= window and (seen.until is None or window < seen.until)


def _is_there(seen: Seen, window: int) -> bool:
    """Whether it is known and nobody had taken its place."""
    if not _is_known(seen, window):
        return False
    return seen.displaced is None or window < seen.displaced[0] or (seen.displaced[1] is not None and window >= seen.displaced[1])


def _displace(of_key: Mapping[str, Seen], window: int, longest: int) -> None:
    """Say from ``window`` on of each service of an address whether another was seen there for ``longest`` (seconds) after it.

    One stretch is remembered: before the next one begins, the last is further back than anybody asks.
    """
    latest = max((seen.last for service, seen in of_key.items() if service != _OUTSIDE), default=0)
    for service, seen in of_key.items():
        gone = service != _OUTSIDE and latest - seen.last > longest
        is_gone = seen.displaced is not None and seen.displaced[1] is None
        if gone and not is_gone:
            seen.displaced = window, None
        elif is_gone and not gone:
            assert seen.displaced is not None
            seen.displaced = seen.displaced[0], window


def _host(address: str) -> str:
    """The host of an address with or without a port."""
    return address.rpartition(":")[0] or address


def is_ip_address(address: str) -> bool:
    """Whether an address, with or without a port, is an IP address: an instance's, which is dealt anew with every instance."""
    host = address if address.count(":") > 1 else _host(address)
    return bool(host) and "/" not in host and (":" in host or not host.rpartition(".")[2].strip("0123456789"))


def _is_on_own_machine(address: str) -> bool:
    """Whether an address, with or without a port, leads to another place from each machine: loopback, a link's own, or a socket."""
    if address.startswith(("/", "unix:")) or _host(address).rpartition(".")[2] in _LOOPBACK_NAMES:
        return True
    return is_ip_address(address) and any(map(_is_local_ip, {address, _host(address)}))


def _is_local_ip(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified


def _is_nameless(address: str) -> bool:
    """Whether an address is an instance's, an IP address or a socket, and no name: one that never answered has its own."""
    return "/" in address or is_ip_address(address)


def _key(caller: Origin, peer: Peer) -> _Key:
    return caller.environment, caller.service, peer.key


def _of_destination(origin: Origin, peer: Peer) -> _Key:
    """What is known of a destination whoever speaks to it: who produces, and where there is anything, that somebody consumes."""
    return origin.environment, "", peer.key
