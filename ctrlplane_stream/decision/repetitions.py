"""What comes again: a record by its place and date, wherever it is delivered once more, and an event of an artifact by its id, however late
it comes and whatever became of what it offered.

A sender that is at least once, a mirrored topic, a dead letter that is replayed and announcements that are projected anew all bring an
event a second time. What it offers cannot tell: once another configuration is in force, an old artifact with it would be a new version.
"""

import hashlib

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.model.facts import ArtifactPushed, Origin

EVENTS_KEPT = 16
"""Of so many events that offered one artifact of a service the ids are remembered, as long as its numbers are: for ever. Who offers it more
often builds the same again and again, and does not repeat himself that late."""


def repeated(draft: Draft, origin: Origin | None) -> str | None:
    """Why a fact is a repetition, or None after noting its origin as the latest."""
    if origin is None:
        return None
    place = f"{origin.topic}/{origin.partition}"
    last = draft.find(f"origin/{place}", e.OriginMark)
    mark = mark_after(last, origin, draft.clock.now_ms)
    if last is not None and mark is None:
        return f"ignored: {place} offset {origin.offset} was decided before (up to {last.offset})"
    assert mark is not None
    if last is not None and last.has(origin):
        text = f"{place} was made anew or lost its end: offset {origin.offset} is dated after all that was decided of it"
        draft.because("another-log", text)
    draft.put(f"origin/{place}", mark)
    return None


def mark_after(last: e.OriginMark | None, origin: Origin, now_ms: int) -> e.OriginMark | None:
    """The mark of an input partition once a fact of this origin is taken; None where it was taken before.

    Whatever was taken is dated at or before the mark, so no repetition is dated after it: what is, and stands where something was taken
    already, is a record of a log that was made anew or lost its end.
    """
    if last is None:
        return e.OriginMark(origin.offset, origin.index, origin.at_ms or 0)
    anew = last.has(origin)
    if anew and not last.is_of_another_log(origin):
        return None
    at_ms = max(origin.at_ms, last.at_ms or now_ms) if origin.at_ms is not None else 0  # what did not say its own was there by now
    return e.OriginMark(origin.offset, origin.index, at_ms, last.at_ms if anew else last.since_ms)


def came_before(draft: Draft, fact: ArtifactPushed) -> bool:
    """Whether this event was taken before; notes it where it was not. Ids are those of one artifact: no two senders choose one for that."""
    key = f"offered/{fact.artifact.service}/{fact.artifact.digest}"
    known = draft.find(key, e.OfferedEntry)
    events = known.events if known is not None else ()
    event = hashlib.sha256(fact.event_id.encode()).hexdigest()[:16]
    if event in events:
        return True
    draft.put(key, e.OfferedEntry((*events, event)[-EVENTS_KEPT:]))
    return False
