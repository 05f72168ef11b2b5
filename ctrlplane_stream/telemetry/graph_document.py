"""The dependency graph of a recording, or of live windows, as a document, as pictures, and compared with another."""

from collections.abc import Iterable

import msgspec

from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.sketch import EMPTY, Sketch, merge
from ctrlplane_stream.model.windows import EdgeWindow, WindowPart
from ctrlplane_stream.telemetry.offline import Recording
from ctrlplane_stream.telemetry.reasons import Skip

_REASONS = {reason.value: reason for reason in Skip}


class Quantiles(msgspec.Struct, frozen=True):
    """Latency in milliseconds."""

    p50: float
    p90: float
    p99: float


class Latency(msgspec.Struct, frozen=True):
    """Latency as the caller and the callee saw it, and between them; None where a side was not seen."""

    client: Quantiles | None
    server: Quantiles | None
    gap: Quantiles | None


class PairDocument(msgspec.Struct, frozen=True):
    """Calls between a version of the caller and one of the callee."""

    caller: str
    callee: str
    calls: int
    errors: int


class EdgeDocument(msgspec.Struct, frozen=True):
    """One edge over the whole recording. ``calls_per_request``: by request that its caller got; None where no span says that it got any."""

    caller: str
    callee: str
    kind: EdgeKind
    calls: int
    errors: int
    versions: tuple[PairDocument, ...]
    latency: Latency
    calls_per_request: float | None = None


class SkippedDocument(msgspec.Struct, frozen=True):
    """Spans that made no edge of their own."""

    reason: str
    count: int


class GraphDocument(msgspec.Struct, frozen=True):
    """The whole graph; edges sorted by caller, callee and kind, reasons by name. Environments are taken together unless one was asked for.

    ``spans`` and ``skipped`` are of the whole recording. ``spans`` is left out where it is not known: windows that a worker made no
    longer say how many went in.
    """

    spans: int | msgspec.UnsetType
    edges: tuple[EdgeDocument, ...]
    skipped: tuple[SkippedDocument, ...]


def document_of(recording: Recording, environment: str | None = None) -> GraphDocument:
    """The document of a recording; its edges are those of one environment where one is named."""
    parts = [part for part in recording.parts if environment in (None, part.environment)]
    skipped = tuple(SkippedDocument(reason, count) for reason, count in sorted(recording.skipped.items()))
    return GraphDocument(recording.spans, _edges(parts), skipped)


def document_of_windows(parts: Iterable[WindowPart]) -> GraphDocument:
    """The document of windows that a worker has made."""
    return GraphDocument(msgspec.UNSET, _edges(parts), ())


def _edges(parts: Iterable[WindowPart]) -> tuple[EdgeDocument, ...]:
    rows: dict[EdgeKey, list[EdgeWindow]] = {}
    requests: dict[str, int] = {}
    for part in parts:
        for row in part.edges:
            rows.setdefault(EdgeKey(row.caller, row.callee, row.kind), []).append(row)
        for service in part.services:
            requests[service.service] = requests.get(service.service, 0) + service.requests
    return tuple(_edge(key, rows[key], requests.get(key.caller, 0)) for key in sorted(rows))


def _edge(key: EdgeKey, rows: list[EdgeWindow], requests: int) -> EdgeDocument:
    pairs: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        sums = pairs.setdefault((row.caller_version, row.callee_version), [0, 0])
        sums[0] += row.calls
        sums[1] += row.errors
    calls = sum(row.calls for row in rows)
    return EdgeDocument(
        key.caller,
        key.callee,
        key.kind,
        calls,
        sum(row.errors for row in rows),
        tuple(PairDocument(*pair, *pairs[pair]) for pair in sorted(pairs)),
        Latency(*(_quantiles(merge(sketches)) for sketches in zip(*((r.client, r.server, r.gap) for r in rows), strict=True))),
        round(calls / requests, 6) if requests else None,
    )


def _quantiles(sketch: Sketch) -> Quantiles | None:
    if sketch == EMPTY:
        return None
    return Quantiles(*(round((sketch.quantile(q) or 0.0) / 1000, 3) for q in (0.5, 0.9, 0.99)))


def as_json(graph: GraphDocument) -> str:
    """The graph as JSON, indented, keys in the order of the document."""
    return msgspec.json.format(msgspec.json.encode(graph), indent=2).decode()


def as_dot(graph: GraphDocument) -> str:
    """The graph for Graphviz: services as boxes, databases as cylinders, what is outside dashed."""
    shapes = {EdgeKind.DATABASE: "[shape=cylinder]", EdgeKind.EXTERNAL: "[shape=box, style=dashed]"}
    lines = ["digraph dependencies {", "  node [shape=box];"]
    lines += sorted({f"  {_quoted(edge.callee)} {shapes[edge.kind]};" for edge in graph.edges if edge.kind in shapes})
    for edge in graph.edges:
        style = ", style=dashed" if edge.kind is EdgeKind.MESSAGE else ""
        # A label's lines are parted by the two characters \n, which is why each is quoted by itself.
        label = "\\n".join(_escaped(line) for line in (_label(edge), *_by_version(edge)))
        lines.append(f'  {_quoted(edge.caller)} -> {_quoted(edge.callee)} [label="{label}"{style}];')
    return "\n".join([*lines, "}"])


def as_mermaid(graph: GraphDocument) -> str:
    """The graph as a Mermaid flowchart; databases are cylinders, messages dotted arrows."""
    databases = {edge.callee for edge in graph.edges if edge.kind is EdgeKind.DATABASE}
    names = sorted({name for edge in graph.edges for name in (edge.caller, edge.callee)})
    numbers = {name: f"n{i}" for i, name in enumerate(names)}
    lines = ["flowchart LR"]
    for name in names:
        text = _mermaid(name)
        lines.append(f'  {numbers[name]}[("{text}")]' if name in databases else f'  {numbers[name]}["{text}"]')
    for edge in graph.edges:
        arrow = "-.->" if edge.kind is EdgeKind.MESSAGE else "-->"
        label = "<br>".join(_mermaid(line) for line in (_label(edge), *_by_version(edge)))
        lines.append(f'  {numbers[edge.caller]} {arrow}|"{label}"| {numbers[edge.callee]}')
    return "\n".join(lines)


def as_text(graph: GraphDocument) -> str:
    """The graph for people: an edge a line, under it its pairs of versions where there are several, then what made no edge."""
    lines: list[str] = []
    for edge in graph.edges:
        lines.append(f"{edge.caller} -{edge.kind}-> {edge.callee}  {_label(edge)}{_quantile_words(edge)}")
        lines += [f"    {line}" for line in _by_version(edge)]
    lines.append(("" if graph.spans is msgspec.UNSET else f"{counted(graph.spans, 'span')}, ") + counted(len(graph.edges), "edge"))
    lines += [f"  {_skipped_words(skipped.count, _REASONS[skipped.reason])}" for skipped in graph.skipped]
    return "\n".join(lines)


def _skipped_words(count: int, reason: Skip) -> str:
    became = "were forgotten" if reason is Skip.PEER_FORGOTTEN else "made no edge of their own"
    return f"{count} {became} ({reason}): {reason.sentence}"


def _quantile_words(edge: EdgeDocument) -> str:
    """Latency as the callee had it, or as the caller saw it where the callee told nothing, and which of the two."""
    seen, side = (edge.latency.server, "server") if edge.latency.server else (edge.latency.client, "client")
    return f"  p50 {seen.p50:g} ms, p99 {seen.p99:g} ms ({side} side)" if seen else ""


def _by_version(edge: EdgeDocument) -> list[str]:
    """A line for each pair of versions, where there is more than one."""
    if len(edge.versions) < 2:
        return []
    return [f"{_short(p.caller)} -> {_short(p.callee)}: {_calls(p.calls, p.errors)}" for p in edge.versions]


def _short(version: str) -> str:
    """A label as a line has room for it: of a digest as many characters as tell it from others."""
    return version[:19] if version.startswith("sha256:") else version or "no version"


def _label(edge: EdgeDocument) -> str:
    return _calls(edge.calls, edge.errors)


def _calls(calls: int, errors: int) -> str:
    return f"{counted(calls, 'call')}{f', {errors} failed' if errors else ''}"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid(text: str) -> str:
    """A name inside of quotes: Mermaid takes ``<`` for HTML and ``#`` for the beginning of an entity."""
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;")


class ChangedEdge(msgspec.Struct, frozen=True):
    """An edge of both graphs, and in words what is different about it."""

    before: EdgeDocument
    after: EdgeDocument
    changes: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True):
    """What became of the edges from one graph to another, each sorted."""

    appeared: tuple[EdgeDocument, ...]
    vanished: tuple[EdgeDocument, ...]
    changed: tuple[ChangedEdge, ...]


def difference(before: GraphDocument, after: GraphDocument) -> Difference:
    """Which edges appeared, vanished or changed: error share by a percentage point; calls per request, or p50 or p99 of a side, by a half;
    or other versions."""
    old, new = _by_key(before.edges), _by_key(after.edges)
    changed = [ChangedEdge(old[key], new[key], _changes(old[key], new[key])) for key in sorted(old.keys() & new.keys())]
    return Difference(
        tuple(new[key] for key in sorted(new.keys() - old.keys())),
        tuple(old[key] for key in sorted(old.keys() - new.keys())),
        tuple(change for change in changed if change.changes),
    )


def difference_text(found: Difference) -> str:
    """A difference for people, a line an edge; says so where there is none."""
    lines = [f"+ {_name(edge)}  {_label(edge)}" for edge in found.appeared]
    lines += [f"- {_name(edge)}  {_label(edge)}" for edge in found.vanished]
    lines += [f"~ {_name(change.after)}  {'; '.join(change.changes)}" for change in found.changed]
    return "\n".join(lines) if lines else "no edge appeared, vanished or changed"


def difference_json(found: Difference) -> str:
    """A difference as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def _by_key(edges: Iterable[EdgeDocument]) -> dict[tuple[str, str, str], EdgeDocument]:
    return {(edge.caller, edge.callee, edge.kind.value): edge for edge in edges}


def _name(edge: EdgeDocument) -> str:
    return f"{edge.caller} -{edge.kind}-> {edge.callee}"


def _changes(before: EdgeDocument, after: EdgeDocument) -> tuple[str, ...]:
    changes = []
    shares = [edge.errors / edge.calls if edge.calls else 0.0 for edge in (before, after)]
    if abs(shares[1] - shares[0]) >= 0.01:
        changes.append(f"failed {shares[0]:.1%} -> {shares[1]:.1%}")
    had, has = before.calls_per_request, after.calls_per_request
    if had is not None and has is not None and _differ(had, has, _FEW_CALLS):
        changes.append(f"calls per request {had:.3g} -> {has:.3g}")
    sides = ("server", before.latency.server, after.latency.server), ("client", before.latency.client, after.latency.client)
    for side, old, new in sides:
        changes += [f"{change} ms ({side} side)" for change in (_latency_changes(old, new) if old and new else ())]
    return (*changes, *_version_changes(before, after))


_FEW_CALLS, _FEW_MS = 0.1, 1.0
"""Added to what is compared, so that nothing much does not become a half more by chance."""


def _differ(before: float, after: float, few: float) -> bool:
    """Whether something changed by a half, up or down."""
    return not 1 / 1.5 <= (after + few) / (before + few) <= 1.5


def _latency_changes(before: Quantiles, after: Quantiles) -> list[str]:
    quantiles = ("p50", before.p50, after.p50), ("p99", before.p99, after.p99)
    return [f"{name} {old:g} -> {new:g}" for name, old, new in quantiles if _differ(old, new, _FEW_MS)]


def _version_changes(before: EdgeDocument, after: EdgeDocument) -> list[str]:
    """Of each side the versions that it had and has, where they are others; and new pairs of versions that both sides had."""
    changes = []
    old, new = ({(pair.caller, pair.callee) for pair in edge.versions} for edge in (before, after))
    for place, side in enumerate(("caller", "callee")):
        had, has = ({pair[place] for pair in pairs} for pairs in (old, new))
        if had != has:
            changes.append(f"versions of the {side}: {_listed(had)} -> {_listed(has)}")
    if not changes:
        for word, pairs in (("new", new - old), ("no more", old - new)):
            changes += [f"{word} calls of {_short(caller)} to {_short(callee)}" for caller, callee in sorted(pairs)]
    return changes


def _listed(versions: set[str]) -> str:
    return ", ".join(_short(version) for version in sorted(versions)) or "none"
