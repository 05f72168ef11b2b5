"""Which version a request meets: sticky by trace, and a raised weight only adds traces to the version that gains. Pure."""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import accumulate

from ctrlplane_stream.model.identity import version_number


class Split:
    """The weights of one service as ranges of buckets 0 to 99, versions in the order of their numbers.

    A trace keeps its bucket for ever, and of two versions each grows from its own end. The bucket is salted with the
    service: otherwise the candidates of two unrelated rollouts would share exactly the same traces, and no exposure
    could tell which of them hurts.
    """

    def __init__(self, service: str, weights: Mapping[str, int]) -> None:
        self._salt = blake2b(service.encode(), digest_size=16).digest()
        labels = sorted((label for label in weights if weights[label] > 0), key=_order)
        self._ranges = tuple(zip(accumulate(weights[label] for label in labels), labels, strict=True))

    def bucket(self, trace_id: bytes) -> int:
        """The bucket of a trace id (any bytes that name the trace)."""
        return int.from_bytes(blake2b(trace_id, digest_size=8, salt=self._salt).digest()) % 100

    def version(self, bucket: int) -> str | None:
        """The version that has the bucket, or None where no version has weight."""
        for bound, label in self._ranges:
            if bucket < bound:
                return label
        return None


def trace_id(traceparent: bytes) -> bytes | None:
    """The trace id of a W3C ``traceparent`` header (``00-<32 hex>-<16 hex>-<2 hex>``), or None where there is none."""
    parts = traceparent.strip().split(b"-", 3)
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


def _order(label: str) -> tuple[int, str]:
    number = version_number(label)
    return (-1 if number is None else number, label)
