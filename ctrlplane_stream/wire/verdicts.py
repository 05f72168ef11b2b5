"""What judges say on ``health-verdicts``, our own and anybody else's: one CloudEvent type, one schema."""

from ctrlplane_stream.model.verdicts import Verdict
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.cloudevents import Unreadable

VERDICT = "stream.ctrlplane.verdict.v1"


def read_verdict(value: bytes | None) -> Verdict | Unreadable:
    """The verdict that a record holds, or why it cannot be read. Never raises."""
    event = cloudevents.read(value)
    if isinstance(event, Unreadable):
        return event
    if event.type != VERDICT:
        return Unreadable(f"event type {event.type[:100]!r} is not {VERDICT}")
    return cloudevents.decode(event.data, Verdict, f"{VERDICT} data")


def write_verdict(event_id: str, source: str, verdict: Verdict) -> bytes:
    """The record's value for a verdict; the same id for the same judgement, so that a repetition is known."""
    return cloudevents.write(event_id, source, VERDICT, verdict, subject=verdict.rollout)
