"""What judges say on ``health-verdicts``, our own and anybody else's: one CloudEvent type, one schema."""

from msgspec.structs import replace

from ctrlplane_stream.model.verdicts import GuardRole, MetricEvidence, Verdict, VerdictStatus
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
    """The record's value for a verdict; the same id for the same judgement, so that a repetition is known.

    One longer than an event may be, as of many hundred guards, goes without the evidence that tells least, and says so: what failed and
    what must be proven is told before anything else.
    """
    value = cloudevents.write(event_id, source, VERDICT, verdict, subject=verdict.rollout)
    told = len(verdict.metrics)
    while len(value) > cloudevents.MAX_BYTES and told:
        told = min(told - 1, told * cloudevents.MAX_BYTES // len(value))
        shorter = _with_most_telling(verdict, told)
        value = cloudevents.write(event_id, source, VERDICT, shorter, subject=verdict.rollout)
    return value


def _with_most_telling(verdict: Verdict, told: int) -> Verdict:
    """The verdict with so many of its metrics, in their order."""
    found = verdict.metrics
    by_weight = sorted(range(len(found)), key=lambda at: (_rank(found[at]), -found[at].e_value))
    kept = tuple(found[at] for at in sorted(by_weight[:told]))
    left = f"The evidence on {len(found) - told} of {len(found)} metrics, which tells least, is not in this record: it would be too long."
    return replace(verdict, metrics=kept, reason=f"{verdict.reason} {left}")


def _rank(evidence: MetricEvidence) -> int:
    if evidence.status is VerdictStatus.FAIL:
        return 0
    return 1 if evidence.proof is not None or evidence.role in (GuardRole.CHANGED, GuardRole.ENTRY) else 2
