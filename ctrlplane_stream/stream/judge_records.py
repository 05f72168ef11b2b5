"""What the judge knows of an environment, as records of ``judge-state``: none larger than a record may be, and only those that changed.

The order in which they are written holds them together where a crash comes between two of them, and the window is read again:

1. The steps under way, which are of one window together: chunks, in two slots of keys in turn as a snapshot's are, then which of them hold
   the steps. Each step passes over a window that it was judged by.
2. The pasts, spread over shards by the name of their service. Each says the last window that it holds, and passes that over. A step that
   begins takes the pasts of before its first window, so they must not be ahead of it.
3. The head, when all that is safe: where to read on.

Where chunks are not what the record of the steps says (two owners wrote at once) the steps begin anew, which is logged.
"""

import contextlib
import hashlib
import logging
import re
import zlib
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from ctrlplane_stream.decision.judge import Baseline, EnvironmentState, StepState
from ctrlplane_stream.decision.judge.baseline import ServicePast
from ctrlplane_stream.stream.window_line import Place
from ctrlplane_stream.wire.json_words import WrongJson, read_json

SHARDS = 256
CHUNK_CHARACTERS = 500_000
"""Of a text that is ASCII but for names: a chunk is well below the megabyte that any broker takes."""

_NAME = re.compile(r"(.+)/(head|steps|past-\d+|steps-[01]-\d+)", re.DOTALL)

log = logging.getLogger("ctrlplane_stream.stream")
Values = list[tuple[str, bytes | None]]
"""Names and values of records, None to delete one."""


class Docket(msgspec.Struct):
    """Everything that the judge knows of an environment: where it stands in the windows, and what it has made of them.

    As one record, named like its environment, this is what earlier builds wrote.
    """

    place: Place = msgspec.field(default_factory=Place)
    known: EnvironmentState = EnvironmentState()


class Stored(msgspec.Struct, frozen=True):
    """Which chunks hold the steps under way, and the hash of their text."""

    slot: int = 0
    chunks: int = 0
    text: str = ""


class Head(msgspec.Struct, frozen=True):
    """What is written last: ``window`` is the last one that all the records hold."""

    place: Place = msgspec.field(default_factory=Place)
    window: int = -1


JudgeRecord = Head | Stored | dict[str, ServicePast] | str | Docket
"""The head, which chunks hold the steps, a shard of the pasts, a chunk of text, and what an earlier build wrote as one."""


def judge_record(name: str, value: bytes) -> JudgeRecord:
    """What a record of ``judge-state`` holds. Raises ValueError where it has no name, or its value is none of ours."""
    if not name:
        raise ValueError("it has no key")
    found = _NAME.fullmatch(name)
    part = found[2] if found is not None else ""
    if part == "head":
        return read_json(value, Head)
    if part == "steps":
        return read_json(value, Stored)
    if part.startswith("past-"):
        return read_json(value, dict[str, ServicePast])
    return read_json(value, str) if part else read_json(value, Docket)


def environment_of(name: str) -> str:
    """The environment that a record of ``judge-state`` is about."""
    found = _NAME.fullmatch(name)
    return name if found is None else found[1]


class JudgeRecords:
    """The records of one environment. Write what :meth:`changed` gives first, in order, and what it gives second once that is safe."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._pasts: Mapping[str, ServicePast] = {}
        self._stored = Stored()
        self._chunks = {0: 0, 1: 0}
        self._of_earlier_build = False

    def restore(self, records: Mapping[str, JudgeRecord]) -> Docket | None:
        """What the newest records of each name say, as :meth:`changed` gave them or an earlier build did; None where there are none.

        One that is not there is begun anew.
        """
        self._pasts = {name: past for number in range(SHARDS) for name, past in self._shard(records, number).items()}
        for slot in self._chunks:
            self._chunks[slot] = sum(self._name(f"steps-{slot}-{number}") in records for number in range(len(records)))
        head, earlier = records.get(self._name("head")), records.get(self._environment)
        self._of_earlier_build = self._environment in records
        stored = records.get(self._name("steps"))
        self._stored = stored if isinstance(stored, Stored) else Stored()
        if isinstance(earlier, Docket) and (not isinstance(head, Head) or earlier.place.restart > head.place.restart):
            return _heard(earlier)
        if not isinstance(head, Head):
            return None
        return Docket(head.place, EnvironmentState(Baseline(dict(self._pasts)), self._steps(records), head.window))

    def changed(self, docket: Docket) -> tuple[Values, Values]:
        """What to write of ``docket``: what is new since last time, then the head. It is taken for written."""
        pasts = docket.known.baseline.services
        before, self._pasts = self._pasts, pasts
        shards = {_shard_of(name) for name, past in pasts.items() if before.get(name) is not past}
        shards |= {_shard_of(name) for name in before if name not in pasts}
        found: dict[int, dict[str, ServicePast]] = {number: {} for number in sorted(shards)}
        for name in sorted(pasts):
            if (number := _shard_of(name)) in found:
                found[number][name] = pasts[name]
        body = self._chunks_of(docket.known.steps)
        body += [(self._name(f"past-{number}"), msgspec.json.encode(services)) for number, services in found.items()]
        end: Values = [(self._name("head"), msgspec.json.encode(Head(docket.place, docket.known.window)))]
        if self._of_earlier_build:
            self._of_earlier_build = False
            end.append((self._environment, None))
        return body, end

    def names(self) -> list[str]:
        """The names of all records that there may be of it, the head's last."""
        pasts = [f"past-{number}" for number in sorted({_shard_of(name) for name in self._pasts})]
        steps = [f"steps-{slot}-{number}" for slot, count in self._chunks.items() for number in range(count)]
        earlier = [self._environment] if self._of_earlier_build else []
        return [*earlier, *(self._name(part) for part in (*pasts, *steps, "steps", "head"))]

    def _chunks_of(self, steps: Mapping[str, StepState]) -> Values:
        text = msgspec.json.encode(steps).decode() if steps else ""
        if _hash(text) == self._stored.text or (not text and not self._stored.chunks):
            return []
        slot, runs = 1 - self._stored.slot, [text[at : at + CHUNK_CHARACTERS] for at in range(0, len(text), CHUNK_CHARACTERS)]
        self._stored = Stored(slot, len(runs), _hash(text))
        before, self._chunks[slot] = self._chunks[slot], len(runs)
        written: Values = [(self._name(f"steps-{slot}-{number}"), msgspec.json.encode(run)) for number, run in enumerate(runs)]
        written.append((self._name("steps"), msgspec.json.encode(self._stored)))
        return [*written, *((self._name(f"steps-{slot}-{number}"), None) for number in range(len(runs), before))]

    def _steps(self, records: Mapping[str, JudgeRecord]) -> dict[str, StepState]:
        chunks = [records.get(self._name(f"steps-{self._stored.slot}-{number}")) for number in range(self._stored.chunks)]
        text = "".join(chunk for chunk in chunks if isinstance(chunk, str))
        if not chunks:
            return {}
        if _hash(text) == self._stored.text:
            with contextlib.suppress(WrongJson):
                return read_json(text, dict[str, StepState])
        log.warning("the judge's steps in %s are not as they were written: they begin anew", self._environment)
        return {}

    def _shard(self, records: Mapping[str, JudgeRecord], number: int) -> dict[str, ServicePast]:
        shard = records.get(self._name(f"past-{number}"))
        return shard if isinstance(shard, dict) else {}

    def _name(self, record: str) -> str:
        return f"{self._environment}/{record}"


def _shard_of(service: str) -> int:
    return zlib.crc32(service.encode()) % SHARDS


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _heard(docket: Docket) -> Docket:
    """With every service heard of in the last window, where an earlier build did not say when."""
    known = docket.known
    pasts = {name: past if past.heard is not None else replace(past, heard=known.window) for name, past in known.baseline.services.items()}
    return Docket(docket.place, replace(known, baseline=Baseline(pasts)))
