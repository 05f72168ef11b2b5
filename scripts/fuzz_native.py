"""Damaged spans and damaged batches through the C of the span engine, compiled with the address and undefined-behaviour sanitizers.

``python scripts/fuzz_native.py [--seconds 120] [--seed 1]`` (gcc and its sanitizers). Each round makes traces of every shape, damages
the requests and the batches of ``span-halves`` made of them, reads, pairs and closes windows by both, and writes the rows out. It ends
with 1 at the first access out of bounds, overflow, or exception that no input may cause, and says the seed of the round; with 0 when the
time is up. Whether the results are right is for ``tests/property/telemetry/test_engines_agree.py``, which damages in the same way.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

_SANITIZED = ("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_UNDER_SANITIZERS = "FUZZ_LIBRARY"


def damaged(chance: random.Random, value: bytes) -> bytes:
    """A few bytes changed, cut out, put in or doubled, a number made as large as it goes, or the end missing."""
    found = bytearray(value)
    for _ in range(chance.choice((1, 1, 2, 5, 40))):
        at = chance.randrange(len(found) + 1)
        damage = chance.randrange(7)
        if damage <= 1 and at < len(found):
            found[at] = chance.randrange(256)
        elif damage == 2:
            del found[at : at + chance.randint(1, 20)]
        elif damage == 3:
            found[at:at] = chance.randbytes(chance.randint(1, 4))
        elif damage == 4:
            found[at:at] = found[at : at + chance.randint(1, 40)]
        elif damage == 5:
            del found[max(1, len(found) - chance.choice((1, 4, 16, 400))) :]
        else:
            found[at : at + chance.choice((1, 4, 8))] = chance.choice((b"\xff", b"\x00")) * chance.choice((1, 4, 8))
    return bytes(found)


_COLUMNS = {
    **dict.fromkeys(("traces_high", "traces_low", "spans", "parents", "ends", "durations"), 8),
    **dict.fromkeys(("origin_rows", "peer_rows", "weight_rows"), 4),
    "flags": 1,
}
"""The columns of a batch and the bytes of a row in each."""


def ill_fitting(chance: random.Random, value: bytes) -> bytes:
    """A batch that is well written and whose parts do not fit each other: rows more or fewer in a column, other numbers, other runs."""
    from ctrlplane_stream.wire.gen.halves_pb2 import HalfRecord, Tables

    record = HalfRecord.FromString(value)
    if not record.HasField("batch"):
        return value
    batch = record.batch
    for _ in range(chance.choice((0, 1, 1, 3))):
        name, width = chance.choice(list(_COLUMNS.items()))
        column = getattr(batch, name)
        at = chance.randrange(len(column) // width + 1) * width
        more = chance.choice(
            (b"", column[:width], b"\xff" * width, chance.randrange(20).to_bytes(width, "little"), b"\x00" * (width - 1) + b"\x80")
        )
        setattr(batch, name, column[:at] + more + column[at + width * chance.choice((0, 1, 1, 1)) :])
    if batch.rows and chance.random() < 0.3:
        batch.rows[chance.randrange(len(batch.rows))] = chance.choice((0, 1, len(batch.flags) + 1, (1 << 32) - 1))
    if chance.random() < 0.2:
        tables = Tables.FromString(batch.tables)
        for each in (tables.origins, tables.peers, tables.weights):
            if each and chance.random() < 0.5:
                del each[chance.randrange(len(each)) :]
        batch.tables = tables.SerializeToString()
    return record.SerializeToString()


def _round(seed: int) -> int:
    """One chain that is fed damaged and whole values; returns how many."""
    from ctrlplane_stream.telemetry.batches import Watch, decode
    from ctrlplane_stream.telemetry.engines import columnar
    from ctrlplane_stream.telemetry.in_memory import InMemoryChain
    from ctrlplane_stream.telemetry.random_traces import random_spans, tidy_spans
    from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, request
    from ctrlplane_stream.telemetry.settings import SpanSettings
    from ctrlplane_stream.wire.otlp import Unreadable

    chance = random.Random(seed)
    settings = SpanSettings(
        partitions=chance.choice((1, 2, 3)),
        window_ms=1_000,
        lateness_ms=1_000,
        pairing_ms=3_000,
        max_halves=chance.choice((50, 100_000)),
        max_trace_halves=chance.choice((8, 10_000)),
    )
    chain = InMemoryChain(settings, columnar(always=True), catalog={"stock": "stock"})
    chain.watch(Watch("prod", "cart", ("2",)))
    fed, now_ms = 0, BEGINNING_MS
    for _ in range(chance.randint(2, 5)):
        make = chance.choice((random_spans, tidy_spans))
        values: list[bytes | None] = []
        for _ in range(chance.randint(1, 3)):
            value = request(make(chance.randrange(10**9), spread_ms=chance.choice((300, 6_000))))
            values.append(damaged(chance, value) if chance.random() < 0.5 else value)
        chain.receive(values, now_ms, chance.randrange(settings.partitions))
        fed += len(values)
        for partition, log in enumerate(chain.log):
            for value in [chance.choice((damaged, ill_fitting, ill_fitting))(chance, each) for each in log[-3:]]:
                if not isinstance(decode(value), Unreadable):
                    chain._publish(partition, value)
                fed += 1
        now_ms += chance.choice((0, 700, 2_500))
        chain.advance(now_ms)
    for later_ms in range(now_ms, now_ms + 12_000, 1_000):
        chain.advance(later_ms)
    return fed


def _checksums(chance: random.Random) -> None:
    from aiokafka.record.util import calc_crc32c

    from ctrlplane_stream.stream.record_batches import checksum_within

    data = chance.randbytes(chance.randrange(100))
    begin, end = sorted(chance.randint(0, len(data)) for _ in range(2))
    if checksum_within(data, begin, end) != calc_crc32c(data[begin:end]):
        raise AssertionError(f"the checksum of {data[begin:end]!r}")


def _fuzz(seconds: float, seed: int, library: Path) -> int:
    import ctrlplane_stream.telemetry.native  # noqa: F401

    loading = sys.modules["ctrlplane_stream.telemetry.native.library"]
    loading.LIBRARY = library  # type: ignore[attr-defined]
    if (why := loading.why_no_library()) is not None:
        print(f"the sanitized library cannot be used: {why}")
        return 1
    fed = rounds = 0
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        try:
            fed += _round(seed + rounds)
            _checksums(random.Random(seed + rounds))
        except Exception:
            print(f"round of seed {seed + rounds}", flush=True)
            raise
        rounds += 1
    print(f"{rounds} rounds from seed {seed}, {fed} values, {time.process_time() - begun:.0f} s of CPU: nothing found")
    return 0


def _under_sanitizers(library: Path) -> int:
    """Compile, and begin again with the sanitizers loaded before Python."""
    import compile_native

    command = [flag for flag in compile_native.SPANS.command("gcc", library, *_SANITIZED) if flag != "-O3"]
    subprocess.run(command, check=True)
    loaded = [subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip() for name in ("libasan.so", "libubsan.so")]
    environ = {
        **os.environ,
        _UNDER_SANITIZERS: str(library),
        "LD_PRELOAD": " ".join(loaded),
        "ASAN_OPTIONS": "detect_leaks=0",  # of Python's own there are thousands
        "PYTHONMALLOC": "malloc",
    }
    return subprocess.run([sys.executable, __file__, *sys.argv[1:]], env=environ, check=False).returncode


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of CPU")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    library = os.environ.get(_UNDER_SANITIZERS)
    if library is not None:
        return _fuzz(arguments.seconds, arguments.seed, Path(library))
    with tempfile.TemporaryDirectory(prefix="fuzz-native-") as folder:
        return _under_sanitizers(Path(folder) / "spans.so")


if __name__ == "__main__":
    sys.exit(main())
