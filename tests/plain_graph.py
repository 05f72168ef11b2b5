"""The rules of ``docs/spans.md`` told plainly, span by span and all spans at once: a count to hold the engine against.

No windows, no columns, no memory bounds, no order: what the engine must come to where everything is there. Of the product it
uses only how attributes name a peer.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ctrlplane_stream.telemetry.half import Kind, Peer, PeerKind
from ctrlplane_stream.telemetry.peers import collect, peer_of
from ctrlplane_stream.telemetry.reasons import Skip

CALLERS, CALLEES = (Kind.CLIENT, Kind.PRODUCER), (Kind.SERVER, Kind.CONSUMER)
NOBODY = bytes(8)
Edge = tuple[str, str, str]


@dataclass(eq=False)
class Plain:
    """A span with what the rules ask of it; ``stands_for`` is the consumer of which this is one link."""

    trace: bytes
    span: bytes
    parent: bytes
    kind: Kind
    failed: bool
    place: tuple[str, str]
    attributes: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[bytes, bytes], ...] = ()
    stands_for: "Plain | None" = None

    @property
    def operation(self) -> str:
        return self.attributes.get("messaging.operation.type") or self.attributes.get("messaging.operation", "")

    @property
    def tells(self) -> bool:
        """Whether its attributes say what it did with messages."""
        return self.kind in (*CALLERS, Kind.CONSUMER)

    @property
    def fetched(self) -> bool:
        return self.tells and self.operation == "receive"

    @property
    def settled(self) -> bool:
        return self.tells and self.operation == "settle"

    @property
    def role(self) -> Kind:
        """The kind after what it did with messages is taken into account."""
        return Kind.CONSUMER if self.fetched else Kind.INTERNAL if self.settled else self.kind

    @property
    def peer(self) -> Peer | None:
        return peer_of(collect(self.attributes.items()))

    @property
    def name(self) -> tuple[bytes, bytes, bool]:
        return self.trace, self.span, self.role in CALLEES


@dataclass
class Count:
    """``edges`` gives (calls, errors); ``own_edge`` how many spans are a half of one."""

    edges: dict[Edge, tuple[int, int]] = field(default_factory=dict)
    reasons: Counter[Skip] = field(default_factory=Counter)
    own_edge: int = 0

    def call(self, caller: str, callee: str, kind: str, failed: bool, calls: int = 1) -> None:
        before = self.edges.get((caller, callee, kind), (0, 0))
        self.edges[caller, callee, kind] = before[0] + calls, before[1] + failed


class PlainGraph:
    """``count`` is what the rules make of some spans that are all there."""

    def __init__(self, spans: Iterable[Plain]) -> None:
        self.count = Count()
        self._held: dict[tuple[bytes, bytes, bool], Plain] = {}
        for span in spans:
            self._hold(span)
        self._answered: set[int] = set()
        self._by_whom: dict[int, set[str]] = {}
        self._inside: dict[int, list[Plain]] = {}
        self._counted: dict[int, bool] = {}
        self._consumed: set[tuple[int, str]] = set()
        self._behind: dict[tuple[str, str, str], set[str]] = {}
        self._producers: dict[tuple[str, str], set[str]] = {}
        self._heard: set[tuple[str, str]] = set()
        self._settle()

    def _hold(self, span: Plain) -> None:
        if self._held.setdefault(span.name, span) is not span:
            self.count.reasons[Skip.DUPLICATE] += 1
            self.count.reasons.update(Skip.UNLINKED for _ in links_of(span))

    def _settle(self) -> None:
        spans = list(self._held.values())
        callees = [span for span in spans if span.role in CALLEES]
        links = [link for span in callees for link in links_of(span)]
        self._heard.update((span.place[0], span.peer.key) for span in callees if span.role is Kind.CONSUMER and span.peer)
        lost = [half for half in (*callees, *(link for link in links if not link.fetched)) if not self._match(half)]
        self._inside = self._callers_inside(spans)
        unconsumed = [span for span in spans if span.role in CALLERS and not self._leads_somewhere(span) and id(span) not in self._inside]
        for half in lost:
            self._orphan(half)
        for link in links:
            if link.fetched and not (self._unconsumed_by(link) and self._match(link)):
                self.count.reasons[Skip.UNLINKED] += 1
        for span in unconsumed:
            self._give_up(span)
        self._count_spans(spans)

    def _count_spans(self, spans: list[Plain]) -> None:
        for span in spans:
            if span.role in CALLERS and id(span) in self._inside and id(span) not in self._answered:
                self.count.reasons[Skip.WRAPPED_CLIENT] += 1
            elif span.role in CALLERS and id(span) in self._answered:
                self.count.own_edge += 1
            elif span.role not in CALLERS and span.role not in CALLEES:
                self.count.reasons[Skip.RECEIVE if span.settled else Skip.LOCAL] += 1

    def _above(self, trace: bytes, span: bytes) -> Plain | None:
        return self._held.get((trace, span, True)) or self._held.get((trace, span, False))

    def _caller(self, callee: Plain) -> Plain | Skip | None:
        """The remote ancestor, or why there is none; None: a parent is missing."""
        shared = self._held.get((callee.trace, callee.span, False)) if callee.role is Kind.SERVER else None
        if shared is not None and shared.role is Kind.CLIENT:
            return shared
        at = callee.parent
        for _ in range(256):
            if at == NOBODY:
                return Skip.ROOT
            above = self._above(callee.trace, at)
            if above is None:
                return None
            if above is callee:
                return Skip.PARENT_LOOP
            if above.place != callee.place:
                return above if above.role in (*CALLERS, *CALLEES) else self._client_around(above)
            if above.role is Kind.PRODUCER or (above.role is Kind.CLIENT and not callee.fetched):
                return above
            if above.role in (*CALLEES, Kind.CLIENT):
                return Skip.NESTED_SERVER
            at = above.parent
        return Skip.PARENT_LOOP

    def _client_around(self, local: Plain) -> Plain:
        """The client or producer that a local span of another service lies in, or that span where there is none."""
        above: Plain | None = local
        for _ in range(256):
            above = self._above(local.trace, above.parent) if above.parent != NOBODY else None
            if above is None or above.place != local.place or above.role in CALLEES:
                return local
            if above.role in CALLERS:
                return above
        return local

    def _match(self, callee: Plain) -> bool:
        """Count a callee's call; False where it makes none, with the reason counted unless its parent is missing."""
        caller = self._caller(callee)
        if not isinstance(caller, Plain):
            if caller is not None:
                self._without(callee, caller)
            return caller is not None
        told = self._counted.pop(id(caller), None)
        kind = "message" if callee.role is Kind.CONSUMER else "call"
        self.count.call(caller.place[1], callee.place[1], kind, callee.failed and not told, int(told is None))
        self.count.own_edge += callee.stands_for is None
        if callee.role is Kind.CONSUMER and not (callee.fetched and callee.stands_for):
            self._consumed.add((id(caller), callee.place[1]))
        if caller.role in CALLERS:
            self._answered.add(id(caller))
            self._by_whom.setdefault(id(caller), set()).add(callee.place[1])
            if not (callee.fetched and callee.stands_for):
                self._learn(caller, callee)
        return True

    def _learn(self, caller: Plain, callee: Plain) -> None:
        if caller.peer is not None:
            said = caller.peer.said if caller.peer.name != callee.place[1] else ""
            for name in (caller.peer.key, *filter(None, (said, caller.peer.rpc))):
                self._behind.setdefault((*caller.place, name), set()).add(callee.place[1])
            if caller.peer.kind is PeerKind.DESTINATION:
                self._producers.setdefault((callee.place[0], caller.peer.key), set()).add(caller.place[1])

    def _without(self, callee: Plain, reason: Skip) -> None:
        if callee.stands_for is not None:
            reason = Skip.UNLINKED
        elif callee.fetched:
            reason = Skip.RECEIVE
        elif any(links_of(callee)):
            reason = Skip.LINKED
        self.count.reasons[reason] += 1

    def _orphan(self, callee: Plain) -> None:
        known = callee.role is Kind.CONSUMER and not callee.stands_for and not any(links_of(callee))
        peer = callee.peer if known else None
        producers = self._producers.get((callee.place[0], peer.key), set()) if peer and peer.kind is PeerKind.DESTINATION else set()
        if len(producers) == 1:
            self.count.call(next(iter(producers)), callee.place[1], "message", callee.failed)
            self.count.own_edge += 1
        else:
            self._without(callee, Skip.MISSING_PARENT)

    def _around(self, caller: Plain) -> Plain | None:
        """The caller of the same service around a caller."""
        at = caller.parent
        for _ in range(256):
            above = None if at == NOBODY else self._above(caller.trace, at)
            if above is None or above.role in CALLEES or above.place != caller.place:
                return None
            if above.role in CALLERS:
                return above if above.role is Kind.CLIENT or caller.role is Kind.PRODUCER else None
            at = above.parent
        return None

    def _unconsumed_by(self, link: Plain) -> bool:
        caller = self._caller(link)
        return isinstance(caller, Plain) and (id(caller), link.place[1]) not in self._consumed

    def _leads_somewhere(self, caller: Plain) -> bool:
        """Count a caller that nobody answered and whose peer says enough at once; True where that is so."""
        peer = caller.peer
        if id(caller) in self._answered:
            return True
        service = self._called(caller)
        if id(caller) in self._inside and (service is None or self._made_inside(caller, service)):
            return False
        if service is not None:
            self._unanswered(caller, service, "call")
            self._counted[id(caller)] = caller.failed
        elif peer and peer.kind is PeerKind.DATABASE:
            self._unanswered(caller, peer.name, "database")
        return id(caller) in self._answered

    def _callers_inside(self, spans: list[Plain]) -> dict[int, list[Plain]]:
        """Of each caller those of its service inside it, whatever lies between; nothing lies inside one that is its own ancestor."""
        inside: dict[int, list[Plain]] = {}
        for span in (span for span in spans if span.role in CALLERS):
            chain, outer = [span], self._around(span)
            while outer is not None and outer not in chain:
                chain.append(outer)
                outer = self._around(outer)
            for around in chain[1 : None if outer is None else chain.index(outer)]:
                inside.setdefault(id(around), []).append(span)
        return inside

    def _made_inside(self, outer: Plain, service: str) -> bool:
        """Whether a call inside another is the one that is told of: one of that service, or of another of ours that ended no better."""
        for span in self._inside[id(outer)]:
            by_whom = self._by_whom.get(id(span), set())
            if service in by_whom or ((by_whom or self._called(span)) and (span.failed or not outer.failed)):
                return True
        return False

    def _called(self, caller: Plain) -> str | None:
        peer = caller.peer
        if not peer or peer.kind is PeerKind.DESTINATION:
            return None
        also = (peer.said, peer.rpc) if is_address(peer.address) else (peer.said,)
        named = [self._behind.get((*caller.place, name), set()) for name in also if name]
        mine = self._service(caller, peer) or next((min(found) for found in named if len(found) == 1), None)
        return mine or (None if peer.kind is PeerKind.DATABASE else self._by_others(caller, peer, also))

    def _by_others(self, caller: Plain, peer: Peer, also: Iterable[str]) -> str | None:
        """The one service that answered all who were answered at an address, on its host, or where they said the same; sidecars aside."""
        if is_own(peer.key):
            return None
        of_all: dict[str, set[tuple[str, str]]] = {}
        for (environment, by, at), found in self._behind.items():
            if environment == caller.place[0] and not is_own(at):
                of_all.setdefault(at, set()).update((by, service) for service in found)
        known_here = {at for (*place, at) in self._behind if tuple(place) == caller.place}

        beside = {
            (by, service) for (of, by, at), found in self._behind.items() if of == caller.place[0] and is_own(at) for service in found
        }

        def agreed(found: set[tuple[str, str]]) -> str | None:
            services = {service for _, service in found}
            teaching = {(by, service) for by, service in found if by != service} - beside
            return min(services) if len(services) == 1 and teaching else None

        def on_ports(host: str) -> set[tuple[str, str]]:
            return set().union(*(found for at, found in of_all.items() if at.rpartition(":")[0] == host))

        def at_address() -> str | None:
            if peer.key in known_here:
                return None
            if found := of_all.get(peer.key, set()):
                return agreed(found)
            host = peer.key.rpartition(":")[0] or peer.key
            found = set() if any(at.rpartition(":")[0] == peer.key for at in known_here) else on_ports(peer.key)
            if not found and host in of_all and not any(host in (at, at.rpartition(":")[0]) for at in known_here):
                found = of_all[host] | on_ports(host)
            return agreed(found)

        by_name = [agreed(of_all.get(name, set())) for name in also if name]
        ordered = (*by_name, at_address()) if is_address(peer.address) else (at_address(), *by_name)
        return next((service for service in ordered if service), None)

    def _service(self, caller: Plain, peer: Peer) -> str | None:
        """The service of the environment that a peer is: by the name it is given, by its address, by its host on any port, by its host."""
        learned = (*self._behind.items(), *self._producers.items())
        outer = peer.kind is not PeerKind.DATABASE
        names = {service for key, services in learned if key[0] == caller.place[0] and outer for service in services}
        host = peer.address.rpartition(":")[0] or peer.address
        if peer.name in names and peer.name != host:
            return peer.name
        behind = self._behind.get((*caller.place, peer.key), set())
        if behind or not outer:
            return next(iter(behind)) if len(behind) == 1 else None
        without_port = peer.key.rpartition(":")[0] or peer.key
        asked = without_port == peer.key or (*caller.place, without_port) in self._behind
        on_host = self._on_host(caller, without_port) if asked else set()
        if len(on_host) == 1:
            return next(iter(on_host))
        return peer.name if peer.name in names else None

    def _on_host(self, caller: Plain, host: str) -> set[str]:
        """Who answered this caller at a host, with and without a port."""
        learned = self._behind.items()
        return set().union(
            *(found for (*place, at), found in learned if tuple(place) == caller.place and host in (at, at.rpartition(":")[0]))
        )

    def _give_up(self, caller: Plain) -> None:
        peer = caller.peer
        if id(caller) in self._answered:
            return
        if peer is None:
            self.count.reasons[Skip.NO_PEER] += 1
        elif peer.kind is PeerKind.DESTINATION and self._is_consumed(caller, peer):
            self.count.reasons[Skip.UNCONSUMED] += 1
        else:
            self._unanswered(caller, peer.name, "external")

    def _is_consumed(self, caller: Plain, peer: Peer) -> bool:
        """Whether anybody consumes of a destination: by his own span, or by a message that somebody took."""
        place = caller.place[0], peer.key
        return place in self._heard or place in self._producers or (*caller.place, peer.key) in self._behind

    def _unanswered(self, caller: Plain, callee: str, kind: str) -> None:
        self._answered.add(id(caller))
        self.count.call(caller.place[1], callee, kind, caller.failed)


def is_address(address: str) -> bool:
    """Whether an address of the traces is an IP address, with a port or without."""
    return re.fullmatch(r"[\d.]+(:\d+)?", address) is not None


def is_own(address: str) -> bool:
    """Whether an address of the traces, with a port or without, is of the caller's own machine."""
    return re.fullmatch(r"(127\.[\d.]+|localhost|::1)(:\d+)?", address) is not None


def links_of(span: Plain) -> list[Plain]:
    """A consumer as the child of each span that its links name, its own parent and repetitions left out."""
    if span.role is not Kind.CONSUMER or span.stands_for is not None:
        return []
    named = [link for link in dict.fromkeys(span.links) if link != (span.trace, span.parent)]
    return [Plain(trace, span.span, of, span.kind, span.failed, span.place, span.attributes, (), span) for trace, of in named]
