"""What a request writes, in words: by these a plan says where it strikes, whatever number the write has in a run."""

from collections import Counter

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import RUNS, Kind
from ctrlplane_stream.actuators.kubernetes.transport import Request

_RUNS = RUNS.replace("/", "~1")
"""The annotation's name in a JSON pointer."""


class Spot(msgspec.Struct, frozen=True):
    """The ``nth`` write (from 0) of a run that does this, as ``scale deployments/shop-cart-v2``."""

    what: str
    nth: int

    @property
    def kind(self) -> str:
        """What is done to what kind of object, whichever it is."""
        return self.what.partition("/")[0]

    def __str__(self) -> str:
        return self.what if self.nth == 0 else f"{self.what} again" if self.nth == 1 else f"{self.what} again ({self.nth})"


class Tally:
    """The requests of a run so far, over all actuators that take part in it."""

    def __init__(self) -> None:
        self.requests = 0
        self.spots: list[Spot] = []
        self._counts: Counter[str] = Counter()

    def note(self, request: Request) -> Spot | None:
        """Count the request; the spot that it is, or None where it reads."""
        self.requests += 1
        if request.method == "GET":
            return None
        what = said(request)
        spot = Spot(what, self._counts[what])
        self._counts[what] += 1
        self.spots.append(spot)
        return spot


def said(request: Request) -> str:
    """What a request that writes does, to which object."""
    plurals = {each.path("", "").rpartition("/")[2] for each in Kind}
    parts = request.path.split("/")
    at = next(index for index, part in enumerate(parts) if part in plurals)
    name = "/".join(parts[at:]) if len(parts) > at + 1 else f"{parts[at]}/{request.body['metadata']['name']}"
    return f"{_verb(request)} {name}"


def _verb(request: Request) -> str:
    if "dryRun" in request.query:
        return "try out"
    if request.method in ("POST", "PUT"):
        return "remember in"
    if request.method == "DELETE":
        return "delete"
    if not isinstance(request.body, list):
        return "make"
    return _patched({operation["path"]: operation.get("value") for operation in request.body if operation["op"] != "test"})


def _patched(written: dict[str, object]) -> str:
    if "/spec/suspend" in written:
        return "suspend" if written["/spec/suspend"] else "let run"
    if any(path.endswith(f"/{_RUNS}") for path in written):
        return "count runs of"
    return "scale" if "/spec/replicas" in written else "steer" if any(path.endswith("/backendRefs") for path in written) else "stamp"
