"""Keeps the names of databases and external peers few: the first ``most`` of an environment stay, the rest are ``other``."""

from collections.abc import Collection

from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.telemetry.folding import WindowFold

OTHER = "other"
_CAPPED = frozenset({EdgeKind.DATABASE, EdgeKind.EXTERNAL})


class Names:
    """The names admitted so far, by environment; within one window they are admitted in alphabetical order."""

    def __init__(self, most: int, admitted: tuple[tuple[str, str], ...] = ()) -> None:
        self._most = most
        self._admitted: dict[str, dict[str, None]] = {}
        for environment, name in admitted:
            self._admitted.setdefault(environment, {})[name] = None

    @property
    def admitted(self) -> tuple[tuple[str, str], ...]:
        """Every (environment, name) admitted, in order."""
        return tuple((environment, name) for environment in sorted(self._admitted) for name in self._admitted[environment])

    def keep(self, environments: Collection[str]) -> None:
        """Forget the names of all other environments."""
        for environment in self._admitted.keys() - environments:
            del self._admitted[environment]

    def cap(self, environment: str, fold: WindowFold) -> None:
        """Rename in a fold what is one name too many, adding up edges that become one."""
        known = self._admitted.setdefault(environment, {})
        callees = fold.callees_of(_CAPPED)
        for name in sorted(callees):
            if name not in known and len(known) < self._most:
                known[name] = None
        too_many = callees - known.keys()
        for caller, callee, kind, version, peer_version in fold.edges_to(too_many, _CAPPED) if too_many else ():
            fold.rename_edge((caller, callee, kind, version, peer_version), (caller, OTHER, kind, version, peer_version))
