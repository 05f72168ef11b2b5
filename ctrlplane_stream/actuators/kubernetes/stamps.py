"""The revisions of the memory that objects bear, and what they say of a reader that lags. Pure.

Revisions of one cluster are one rising sequence. An object that bears a later one than the memory that was read says
that the memory was read too old: whatever is decided on it would undo what a later command did.
"""

from ctrlplane_stream.actuators.kubernetes.objects import STAMP, annotation
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.weights import recorded


def is_overtaken(sight: Sight) -> bool:
    """Whether the memory in sight is older than one by which an object was written."""
    if sight.revision is None or not sight.revision.isdecimal():
        return False
    record = recorded(sight.route, sight.place.slug) if sight.route is not None else None
    stamps = [annotation(each, STAMP) for each in sight.workloads.values()] + [None if record is None else record.stamp]
    return any(int(stamp) > int(sight.revision) for stamp in stamps if stamp is not None and stamp.isdecimal())
