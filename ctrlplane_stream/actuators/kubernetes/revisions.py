"""What is known of the state of a cluster: how far we have read and written, so that nobody is shown or decides on less than that.

Revisions of one cluster are one rising sequence of whole numbers, across kinds.
"""

from ctrlplane_stream.actuators.kubernetes.objects import SERVICE, Kind, Manifest, label, name_of, revision_of


class Revisions:
    """The latest revisions; 0 where nothing is known."""

    def __init__(self) -> None:
        self._written: dict[tuple[Kind, str], int] = {}
        self._written_of: dict[tuple[Kind, str, str], int] = {}
        self._listed: dict[tuple[Kind, str], int] = {}
        self._seen: dict[str, int] = {}
        """By path of the object."""

    def written(self, kind: Kind, namespace: str) -> int:
        """The latest that we wrote ourselves of a kind in a namespace."""
        return self._written.get((kind, namespace), 0)

    def written_of(self, kind: Kind, namespace: str, service: str) -> int:
        """The latest that we wrote of an object that carries our label for that service (its slug)."""
        return self._written_of.get((kind, namespace, service), 0)

    def seen(self, kind: Kind, namespace: str, name: str) -> int:
        """The latest of that object that was read or written by name."""
        return self._seen.get(kind.path(namespace, name), 0)

    def known(self, kind: Kind, namespace: str) -> int:
        """The latest of that kind and namespace that was listed or written."""
        return max(self.written(kind, namespace), self._listed.get((kind, namespace), 0))

    def listed(self, kind: Kind, namespace: str, revision: int) -> None:
        """A list was read as it was at that revision."""
        self._listed[kind, namespace] = max(self._listed.get((kind, namespace), 0), revision)

    def wrote(self, kind: Kind, namespace: str, manifest: Manifest) -> None:
        """This was written, and is so now."""
        revision, service = int(revision_of(manifest)), label(manifest, SERVICE) or ""
        path = kind.path(namespace, name_of(manifest))
        self._written[kind, namespace] = max(self.written(kind, namespace), revision)
        self._written_of[kind, namespace, service] = max(self.written_of(kind, namespace, service), revision)
        self._seen[path] = max(self._seen.get(path, 0), revision)

    def is_older(self, path: str, manifest: Manifest) -> bool:
        """Whether an object is read in an older state than it was known in, which is noted: the server that answered lags behind."""
        revision = (manifest.get("metadata") or {}).get("resourceVersion")
        if revision is None or not str(revision).isdecimal():
            return False
        newest = self._seen.get(path, 0)
        self._seen[path] = max(newest, int(revision))
        return int(revision) < newest
