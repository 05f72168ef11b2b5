"""What operators say on ``control``: a CloudEvent whose data is the override, and whose id makes it idempotent."""

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.model.facts import OverrideRequested, OverrideVerb
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import named_wrongly
from ctrlplane_stream.wire.cloudevents import Unreadable

OVERRIDE = "stream.ctrlplane.control.v1"


_MOST_WHO, _MOST_WHY = 200, 2_000
"""Characters. Every rollout, reason and notice that an override of an environment touches repeats them, and one decision keeps all."""


class OverrideData(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """``data`` of a control event. The environment says which partition of ``facts`` it goes to."""

    verb: OverrideVerb
    environment: str
    who: str
    why: str
    rollout: str | None = None
    service: str | None = None
    version: str | None = None
    all_steps: bool = False
    unsafe: bool = False
    expires_ms: int | None = None
    fact_offset: int | None = None
    image: str | None = None
    digest: str | None = None


class ControlEvent(msgspec.Struct, frozen=True):
    """An override and the environment that it is for."""

    environment: str
    override: OverrideRequested


def read_control(value: bytes | None) -> ControlEvent | Unreadable:
    """The override that a record holds, or why it cannot be read. Never raises."""
    event = cloudevents.read(value)
    if isinstance(event, Unreadable):
        return event
    if event.type != OVERRIDE:
        return Unreadable(f"event type {event.type[:100]!r} is not {OVERRIDE}")
    data = cloudevents.decode(event.data, OverrideData, f"{OVERRIDE} data")
    if isinstance(data, Unreadable):
        return data
    if not data.environment or not data.who or not data.why:
        return Unreadable("environment, who and why must not be empty: an override says who overrules, where and for what reason")
    if data.verb is OverrideVerb.ADOPT and (wrong := named_wrongly(data.image or "", data.digest or "")) is not None:
        return Unreadable(f"adopt needs image and digest of what runs: {wrong}")
    if data.verb in (OverrideVerb.FREEZE, OverrideVerb.UNFREEZE) and data.rollout is not None:
        return Unreadable(f"{data.verb} is of an environment or of a service of it, not of a rollout: pause {data.rollout} instead")
    data = replace(data, who=_cut(data.who, _MOST_WHO), why=_cut(data.why, _MOST_WHY))
    fields = msgspec.structs.asdict(data)
    environment = fields.pop("environment")
    return ControlEvent(environment, OverrideRequested(id=event.id, **fields))


def _cut(text: str, most: int) -> str:
    """At most so much of it, and that it is not all: nobody may be refused a pause for saying too much."""
    if len(text) <= most:
        return text
    of = f" … ({len(text)} characters)"
    return text[: most - len(of)] + of


def write_control(event_id: str, source: str, data: OverrideData) -> bytes:
    """The record's value for an override."""
    return cloudevents.write(event_id, source, OVERRIDE, data, subject=data.environment)
