"""What an observer of the cluster hears: one object at a time, with the revision from which on it is so."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest


class Moment(msgspec.Struct, frozen=True):
    """One event: the object as it is from ``revision`` on; ``gone`` where it was deleted then."""

    revision: int
    kind: Kind
    object: Manifest
    gone: bool
