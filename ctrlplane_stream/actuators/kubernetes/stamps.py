"""The revisions of the memory that objects bear, and what they say of a reader that lags. Pure.

Revisions of one cluster are one rising sequence. An object that bears a later one than the memory that was read says
that the memory was read too old: whatever is decided on it would undo what a later command did. Not where the stamp is
later than the object that bears it: that was written later than the memory, so such a stamp was made in another cluster
(a namespace restored from a backup brings its annotations along and no revisions), or by hand.
"""

from ctrlplane_stream.actuators.kubernetes.objects import STAMP, Manifest, annotation, revision_of
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.weights import recorded


def is_overtaken(sight: Sight) -> bool:
    """Whether the memory in sight is older than one by which an object was written."""
    if sight.revision is None or not sight.revision.isdecimal():
        return False
    record = recorded(sight.route, sight.place.slug) if sight.route is not None else None
    stamps = [(each, annotation(each, STAMP)) for each in sight.workloads.values()]
    if sight.route is not None and record is not None:
        stamps.append((sight.route, record.stamp))
    return any(int(sight.revision) < int(stamp) for bearer, stamp in stamps if stamp is not None and _is_from_here(bearer, stamp))


def _is_from_here(bearer: Manifest, stamp: str) -> bool:
    """Whether the stamp can be of the cluster that has its bearer."""
    return stamp.isdecimal() and int(stamp) < int(revision_of(bearer))
