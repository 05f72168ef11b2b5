"""Events of artifacts that come again: each is known by its id, however late it comes and whatever became of what it offered.

A sender that is at least once, a mirrored topic, a dead letter that is replayed and announcements that are projected anew all bring an
event a second time. What it offers cannot tell: once another configuration is in force, an old artifact with it would be a new version.
"""

import hashlib

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.model.facts import ArtifactPushed

EVENTS_KEPT = 16
"""Of so many events that offered one artifact of a service the ids are remembered, as long as its numbers are: for ever. Who offers it more
often builds the same again and again, and does not repeat himself that late."""


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
