"""Halves as the value of a record of ``span-halves``, made one by one."""

import struct
from collections.abc import Sequence

from ctrlplane_stream.telemetry.batch_tables import encode_tables
from ctrlplane_stream.telemetry.half import Half, Origin, Peer
from ctrlplane_stream.wire.gen.halves_pb2 import HalfBatch, HalfRecord


def encode_batch(source: int, through: int, runs: Sequence[tuple[int, int]], halves: Sequence[Half]) -> bytes:
    """Halves as a record's value, in the given order; ``runs`` as in :class:`Batch`."""
    record = HalfRecord()
    batch = record.batch
    batch.source = source
    batch.through = through
    batch.offsets.extend(offset for offset, _ in runs)
    batch.rows.extend(rows for _, rows in runs)
    batch.traces_high = b"".join([half.trace[:8] for half in halves])
    batch.traces_low = b"".join([half.trace[8:] for half in halves])
    batch.spans = b"".join([half.span for half in halves])
    batch.parents = b"".join([half.parent for half in halves])
    batch.ends = _int64([half.end_us for half in halves])
    batch.durations = _int64([half.duration_us for half in halves])
    batch.flags = bytes([half.flags for half in halves])
    _encode_tables(batch, halves)
    return record.SerializeToString()


def _encode_tables(batch: HalfBatch, halves: Sequence[Half]) -> None:
    origins: dict[Origin, int] = {}
    batch.origin_rows = _uint32([origins.setdefault(half.origin, len(origins)) for half in halves])
    peers: dict[Peer, int] = {}
    batch.peer_rows = _uint32([0 if half.peer is None else peers.setdefault(half.peer, len(peers) + 1) for half in halves])
    weights: dict[float, int] = {}
    indices = [weights.setdefault(half.weight, len(weights)) for half in halves]
    batch.weight_rows = _uint32(indices) if len(weights) > 1 else b""
    batch.tables = encode_tables(origins, peers, weights)


def _int64(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def _uint32(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)
