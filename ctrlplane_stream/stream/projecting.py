"""What a decision is to the outside: CloudEvents for `version-sets`, `rollouts`, `artifacts` and `health-verdicts`, made from nothing else.

A projection can be made again from `decisions` at any time and is the same, ids included.
"""

from collections.abc import Iterator

import msgspec

from ctrlplane_stream.model.commands import Announce, Declare, Notify
from ctrlplane_stream.model.decisions import Decided, DecisionRecord, Parked, Reason
from ctrlplane_stream.stream.ports import Letter
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.artifacts import PUSHED, PushedData
from ctrlplane_stream.wire.kafka_clients import partition_of
from ctrlplane_stream.wire.verdicts import write_verdict

VERSION_SET = "stream.ctrlplane.version-set.v1"
ROLLOUT = "stream.ctrlplane.rollout.v1"
SOURCE = "ctrlplane-stream/engine"

_TOPICS = {"set/": ("version-sets", VERSION_SET), "rollout/": ("rollouts", ROLLOUT)}


class Projected(msgspec.Struct, frozen=True):
    """``data`` of both event types: the thing after a decision (null: no longer kept), and the decision it comes from."""

    id: str
    environment: str
    epoch: int
    sequence: int
    at_ms: int
    reasons: tuple[Reason, ...]
    value: msgspec.Raw


def letters_of(decided: Decided, partitions: int) -> Iterator[Letter]:
    """The records that a decision leads to, in the order of its delta and its outputs."""
    partition, key = partition_of(decided.environment, partitions), decided.environment.encode()
    for changed, value in decided.delta.items():
        for prefix, (topic, type_) in _TOPICS.items():
            if changed.startswith(prefix):
                event = _event(decided, changed.removeprefix(prefix), type_, value)
                yield Letter(topic, partition, key, event)
    for output in decided.outputs:
        if isinstance(output, Announce):
            yield Letter("artifacts", partition_of(output.environment, partitions), output.artifact.image.encode(), _announcement(output))
        elif isinstance(output, Declare):
            yield Letter("health-verdicts", partition, key, write_verdict(output.id, SOURCE, output.verdict))


def notices_of(record: DecisionRecord) -> tuple[Notify, ...]:
    """What people are told by a record, in its order."""
    if isinstance(record, Parked):
        return () if record.notice is None else (record.notice,)
    return tuple(output for output in record.outputs if isinstance(output, Notify)) if isinstance(record, Decided) else ()


def _event(decided: Decided, name: str, type_: str, value: msgspec.Raw) -> bytes:
    reasons = tuple(r for r in decided.reasons if r.rollout in (None, name))
    data = Projected(name, decided.environment, decided.epoch, decided.sequence, decided.at_ms, reasons, value)
    return cloudevents.write(f"{name}@{decided.sequence}", SOURCE, type_, data, subject=name)


def _announcement(announced: Announce) -> bytes:
    data = PushedData(
        image=announced.artifact.image,
        digest=announced.artifact.digest,
        service=announced.artifact.service,
        environment=announced.environment,
        release=announced.release,
        order=announced.order,
        provenance=announced.provenance,
    )
    return cloudevents.write(announced.id, SOURCE, PUSHED, data, subject=announced.artifact.image)
