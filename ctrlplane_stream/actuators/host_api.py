"""The HTTP interface of the process host, as words and paths: what ``process.py`` sends and ``local/host/`` answers.

| request | body | answers |
|---|---|---|
| ``GET /targets/{environment}/{service}`` | | 200 ``TargetObserved`` |
| ``PUT /targets/{environment}/{service}`` | ``Taking`` | 200 ``Answer``; 409 ``Answer`` with the reason |
| ``POST …/hand-edit`` | ``HandEdit`` | 200 ``TargetObserved``; 409 ``Answer`` |
| ``POST …/release`` | ``{}`` | as above |
| ``POST …/break-glass`` | ``BreakGlass`` | as above |
| ``GET /routes`` | | 200 environment → service → URL of its router |
| ``PUT /routes/{environment}/{service}`` | | 200, the URL of its router, made now where there is none |
| ``GET /healthz`` | | 200 |

A body that cannot be read gives 400 with ``Answer``. Names are percent-encoded, ``/`` as ``%2F``. Every request with
a body must be ``application/json``, so that no web page can send one unasked.
"""

from urllib.parse import quote

import msgspec

from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor, TargetObserved

DEFAULT_PORT = 8570
"""Where the host listens on loopback unless told otherwise."""


class Taking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command and its cursor, to be taken if the target is not ahead."""

    command: Command
    cursor: Cursor


class HandEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights in percent by version label, summing to 100, as a person wants them."""

    weights: dict[str, int]
    who: str = "unknown"
    why: str = ""


class BreakGlass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything to stable, because a person says so."""

    who: str = "unknown"
    why: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What became of a request that wanted something. ``in_place``: refused only because it was taken before."""

    reason: str
    in_place: bool = False
    observed: TargetObserved | None = None


def target_path(target: Target, verb: str = "") -> str:
    """The path of a target, with a verb under it where one is given."""
    path = f"/targets/{quote(target.environment, safe='')}/{quote(target.service, safe='')}"
    return f"{path}/{verb}" if verb else path


def route_path(target: Target) -> str:
    """The path of a target's router."""
    return f"/routes/{quote(target.environment, safe='')}/{quote(target.service, safe='')}"
