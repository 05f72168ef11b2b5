"""Writes the lists of `docs/spans.md` that the code says: attributes, versions, reasons and bounds. The rest is kept by hand.

`--check` writes nothing and fails where a list is not what the code says.
"""

import ast
import inspect
import sys
from pathlib import Path

from in_step import keep_in_step

from ctrlplane_stream.telemetry import peers
from ctrlplane_stream.telemetry.origins import VERSIONS
from ctrlplane_stream.telemetry.reasons import Skip
from ctrlplane_stream.telemetry.settings import SpanSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "spans.md"


def attributes() -> str:
    """Which attributes name a peer."""
    rows = [
        ("the peer's service", peers.NAMES),
        ("its namespace", peers.PEER_NAMESPACE),
        ("host", peers.HOSTS),
        ("port", peers.PORTS),
        ("host and port, where no host is set", peers.URLS),
        ("host, where no URL is either: where the connection led", peers.CONNECTED),
        ("its port", peers.CONNECTED_PORTS),
        ("database system", peers.DATABASES),
        ("database", peers.NAMESPACES),
        ("messaging system", ("messaging.system",)),
        ("destination", peers.DESTINATIONS),
        ("the destination is temporary", peers.EPHEMERAL),
        ("what was done with a message", peers.OPERATIONS),
        ("the RPC service: the last resort for a name", ("rpc.service",)),
        ("a client's error", ("error.type",)),
    ]
    missing = peers.KEYS - {key for _, keys in rows for key in keys}
    assert not missing, f"say in scripts/spans_doc.py what these attributes are read for: {sorted(missing)}"
    return _table(("what", "attributes"), [(what, ", ".join(f"`{key}`" for key in keys)) for what, keys in rows])


def versions() -> str:
    """What a version is taken from, in order."""
    return "\n".join(f"{i}. {inspect.getdoc(find)}" for i, find in enumerate(VERSIONS, start=1))


def reasons() -> str:
    """Every reason with its sentence."""
    return _table(("reason", "counts", "because"), [(f"`{r}`", r.counts, r.sentence) for r in Skip])


def bounds() -> str:
    """Every bound of the engine with its default."""
    (body,) = (node for node in ast.parse(inspect.getsource(SpanSettings)).body if isinstance(node, ast.ClassDef))
    said: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            said[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    defaults = SpanSettings()
    names = [name for name in SpanSettings.__struct_fields__ if name.startswith("max_") or name.endswith("_ms")]
    return _table(("bound", "default", "what and why"), [(f"`{name}`", f"{getattr(defaults, name):,}", said[name]) for name in names])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def page(text: str) -> str:
    """The page with every list as the code says it."""
    for name, write in (("attributes", attributes), ("versions", versions), ("reasons", reasons), ("bounds", bounds)):
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, f"docs/spans.md has no mark {name}, or no end of it"
        text = f"{before}{begin}{write()}\n{end}{after}"
    return text


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(PAGE.read_text()), "telemetry/", sys.argv[1:]))
