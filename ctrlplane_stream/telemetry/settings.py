"""What the span engine may be told: one frozen value, every field with its meaning, unit, default and why."""

import msgspec

CUT_WINDOWS = 8
"""Traces that never end are looked for once in so many windows."""


class SpanSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the span engine. Times are in milliseconds; a window is named in whole seconds, so it lasts whole seconds.

    Raises ValueError, with what to change, where the values contradict each other.
    """

    partitions: int = 8
    """Partitions of ``otlp_spans`` and of ``span-halves`` alike: one count for all topics, so that owners move together."""

    window_ms: int = 10_000
    """Length of a window. 10 s: short enough to stop a bad step early, long enough for counts that mean something."""

    lateness_ms: int = 10_000
    """How long after a window's end its spans may still be received and be on time. 10 s: the SDKs' batch processor
    exports every 5 s and the Collector batches again; shorter makes verdicts faster and more of the halves late."""

    pairing_ms: int = 30_000
    """How long after its last span a trace is kept for halves still to come. 30 s: the longest common client timeout."""

    answer_ms: int = 1_000
    """How much later than its caller an answer may end so that it is waited for where the window ends between them. 1 s: clocks that
    differ, work after the response, a server that goes on for a moment when its caller gave up; more makes a dead candidate known later."""

    max_trace_ms: int = 600_000
    """A trace that never ends is cut after this time, so that it cannot hold back the restart offset."""

    max_halves: int = 1_000_000
    """Hard cap on the halves kept by one partition; beyond it the oldest go first, and are counted."""

    max_trace_halves: int = 50_000
    """Halves kept of a single trace; further ones are counted and dropped. A runaway loop must not evict everybody else."""

    max_names: int = 256
    """Names of databases and external peers in one environment and partition; further ones are called ``other``."""

    max_environments: int = 256
    """Environments whose windows one partition closes; of more at once the last ones are not known, and their parts of windows are
    counted and dropped. The longest silent makes room, where nothing is watched in it."""

    environment_ms: int = 3_600_000
    """How long an environment's windows are closed after its last span, where nothing is watched in it. An hour: a preview is gone by then,
    and who begins to speak again is known again."""

    max_peers: int = 4_096
    """Addresses remembered, of services and of others. Beyond it, as a window closes, those that never answered go, then the longest
    unseen, which are counted. Bounded because the checkpoint holds them."""

    max_links: int = 128
    """Span links followed from one consumer span (a batch receive); further ones are counted. OpenTelemetry's own default limit."""

    default_environment: str = "default"
    """Environment of spans whose resource names none."""

    sampling_multiplier: float = 1.0
    """Calls that a span without a sampling threshold in its trace state stands for (head sampling by other means)."""

    def __post_init__(self) -> None:
        if self.window_ms <= 0 or self.window_ms % 1000:
            raise ValueError(f"window_ms must be a positive multiple of 1000, because windows are named in seconds: {self.window_ms}")
        if min(self.lateness_ms, self.pairing_ms) < 0:
            raise ValueError("lateness_ms and pairing_ms must not be negative")
        if not 0 <= self.answer_ms <= self.window_ms:
            raise ValueError(f"answer_ms ({self.answer_ms}) must be between 0 and window_ms ({self.window_ms})")
        if self.max_trace_ms < self.pairing_ms:
            raise ValueError(f"max_trace_ms ({self.max_trace_ms}) must be at least pairing_ms ({self.pairing_ms})")
        if min(self.partitions, self.max_halves, self.max_trace_halves, self.max_names, self.max_environments, self.max_peers) < 1:
            raise ValueError("partitions and every max_* must be at least 1")
        if not self.sampling_multiplier >= 1.0:
            raise ValueError(f"sampling_multiplier must be at least 1: {self.sampling_multiplier}")

    @property
    def window_seconds(self) -> int:
        """Length of a window in seconds."""
        return self.window_ms // 1000

    def awaited_from_us(self, window: int) -> int:
        """From which end on (microseconds) a caller is asked after once more when ``window`` has closed."""
        return (window * 1000 + self.window_ms - self.answer_ms) * 1000

    @property
    def reach_windows(self) -> int:
        """How many windows back a stage that is rebuilt from a checkpoint may have to settle again: as long as a trace is held."""
        return -(-self.max_trace_ms // self.window_ms) + CUT_WINDOWS

    def window_of(self, time_us: int) -> int:
        """The window that a time in microseconds since the epoch belongs to, as its start in seconds."""
        return time_us // (self.window_ms * 1000) * self.window_seconds
