"""The check of ``doctor`` for environments: whether one stands still, and whether what is written for them is taken for what they had.

No lag shows either: what waits behind a parked fact was read, and what is taken for a repetition was decided.
"""

from collections.abc import Iterable, Mapping

from ctrlplane_stream.commands.findings import Finding, note, ok, wrong
from ctrlplane_stream.decision.entities import OriginMark
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.line import Line
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.looking import look_at_lines

Place = tuple[str, int]
"""A topic by our own name, and its partition."""


async def check_environments(settings: Settings) -> list[Finding]:
    """One finding for each that stands still, and for each input that ends before what was decided of it; or that there is none. Raises as
    ``look_at_lines`` does."""
    lines = await look_at_lines(settings)
    found = [wrong("environments", still.text, still.remedy) for line in lines if (still := line.standstill) is not None]
    marks = marks_of(lines)
    reader = KafkaLogReader(settings)
    try:
        counts = await reader.counts()
        there = [(topic, partition) for topic, partition in sorted(marks) if partition < counts.get(settings.topic(topic), 0)]
        ends = {place: await reader.end(*place) for place in there}
    finally:
        await reader.close()
    return [*found, *shorter_inputs(marks, ends)] or [ok("environments", "none stands still, and the inputs hold what was decided of them")]


def marks_of(lines: Iterable[Line]) -> dict[Place, OriginMark]:
    """How far each input was decided by whoever decided most of it."""
    found: dict[Place, OriginMark] = {}
    for line in lines:
        for key, _ in line.state.entries():
            mark = line.state.find(key, OriginMark) if key.startswith("origin/") else None
            if mark is not None:
                topic, _, partition = key.removeprefix("origin/").rpartition("/")
                if int(partition) >= 0:
                    found[topic, int(partition)] = max(
                        mark, found.get((topic, int(partition)), mark), key=lambda m: (m.offset, not m.at_ms)
                    )
    return found


def shorter_inputs(marks: Mapping[Place, OriginMark], ends: Mapping[Place, int]) -> list[Finding]:
    """What to say of inputs, where their end is known, that end before what was decided of them: they were made anew, or lost it."""
    found = []
    for (topic, partition), end in sorted(ends.items()):
        if end > (mark := marks[topic, partition]).offset:
            continue
        what = f"{topic}/{partition} ends at offset {end}, and offset {mark.offset} of it was decided: it was made anew, or lost its end"
        if mark.at_ms:
            remedy = "say again what was lost with it; what comes is known from what was decided by its date, so nothing else is to be done"
            found.append(note("environments", what, remedy))
        else:
            remedy = (
                f"what comes up to offset {mark.offset} is taken for a repetition, and the commands say so: say it again until it is taken "
                "(`break-glass abort` stops a candidate at once)"
            )
            found.append(wrong("environments", what, remedy))
    return found
