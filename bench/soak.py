"""Memory of the span engine over a long run: ``python -m bench.soak [--quick] [--spans N]``, 30 million by default, in process.

Fresh ids and times at every round, so that nothing is a repetition; resident memory after each twentieth of the way. Flat after
warm-up is what is wanted. The last line compares the second half of the run with its own beginning.
"""

import argparse
import os
import random
import time

from bench._replay import Recorded, resident_megabytes, traffic
from bench.spans import as_a_worker
from ctrlplane_stream.telemetry.engines import default_engine
from ctrlplane_stream.telemetry.halving import HalvesStage, SourceRecord
from ctrlplane_stream.telemetry.in_memory import publish
from ctrlplane_stream.telemetry.pair import PairStage
from ctrlplane_stream.telemetry.settings import SpanSettings

_PARTITIONS = 2
_RECORDS_A_STEP = 20
_SPANS_A_SECOND = 20_000
_BEGIN_MS = 1_700_000_000_000


class Chain:
    """Both stages, every partition, with nothing kept of what they publish."""

    def __init__(self) -> None:
        settings = SpanSettings(partitions=_PARTITIONS)
        engine = default_engine()
        self.halves = HalvesStage(settings, engine.source(settings))
        self.pairs = [PairStage(p, settings, None, None, engine.pairing) for p in range(_PARTITIONS)]
        self._next = [0] * _PARTITIONS
        self._read = 0
        self.published = 0

    def step(self, values: list[bytes], now_ms: int) -> None:
        """One step of a worker: records in, a watermark of each source, windows out, a checkpoint of each partition."""
        out = self.halves.process([SourceRecord(0, self._read + i, value, now_ms) for i, value in enumerate(values)], now_ms)
        self._read += len(values)
        for record in out.records:
            self._give(record.partition, record.value)
        for source in range(_PARTITIONS):
            mark = self.halves.watermark(source, now_ms, whole_ms=now_ms)
            for partition in range(_PARTITIONS):
                self._give(partition, mark or b"")
        for stage in self.pairs:
            stage.checkpoint()

    def _give(self, partition: int, value: bytes) -> None:
        self.published += len(publish(self.pairs[partition], self._next[partition], value))
        self._next[partition] += 1


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three million spans")
    parser.add_argument("--spans", type=int, default=30_000_000)
    arguments = parser.parse_args()
    wanted = 3_000_000 if arguments.quick else arguments.spans
    as_a_worker()
    base: list[Recorded] = traffic(_RECORDS_A_STEP)
    chain, chance, now_ms, spans, due = Chain(), random.Random(1), _BEGIN_MS, 0, 0.0
    memory: list[float] = []
    begun = time.process_time()
    while spans < wanted:
        key = chance.getrandbits(64)
        step_ms = sum(one.spans for one in base) * 1000 // _SPANS_A_SECOND
        values = [one.again(key, (now_ms + i * step_ms // len(base)) * 1_000_000) for i, one in enumerate(base)]
        now_ms += step_ms
        chain.step(values, now_ms)
        spans += sum(one.spans for one in base)
        if spans >= due:
            due += wanted / 20
            memory.append(resident_megabytes(os.getpid()))
            used = time.process_time() - begun
            held = sum(stage.held for stage in chain.pairs)
            print(f"{spans:>10,} spans  {memory[-1]:6.0f} MB resident  {held:>9,} halves held  {used:6.0f} CPU s", flush=True)
    second = memory[len(memory) // 2 :]
    growth = 100 * (second[-1] / second[0] - 1)
    print(f"second half: {second[0]:.0f} to {second[-1]:.0f} MB ({growth:+.1f}%), {chain.published:,} records published")


if __name__ == "__main__":
    main()
