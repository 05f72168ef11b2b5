"""The traces that the reference holds, by name, and by the window in which they last had a half."""

from collections.abc import Iterable, Iterator

from ctrlplane_stream.telemetry.traces import Trace


class HeldTraces:
    """Windows are seconds since the epoch."""

    def __init__(self) -> None:
        self._traces: dict[bytes, Trace] = {}
        self._by_last: dict[int, dict[bytes, None]] = {}

    @property
    def all(self) -> Iterable[Trace]:
        """The traces held."""
        return self._traces.values()

    @property
    def names(self) -> Iterable[bytes]:
        """Their ids."""
        return self._traces.keys()

    def touch(self, name: bytes, offset: int, window: int) -> Trace:
        """The trace of a half that became visible with ``window``, brought by the record at ``offset``; a new one where there is none."""
        trace = self._traces.get(name)
        if trace is None:
            trace = self._traces[name] = Trace(offset, window, window)
            self._by_last.setdefault(window, {})[name] = None
            return trace
        trace.first_offset = min(trace.first_offset, offset)
        if trace.last_window != window:
            self._by_last[trace.last_window].pop(name, None)
            trace.last_window = window
            self._by_last.setdefault(window, {})[name] = None
        return trace

    def pop_silent(self, through: int) -> Iterator[Trace]:
        """Take out the traces that had nothing after window ``through``, in the order in which they fell silent."""
        for last in [last for last in self._by_last if last <= through]:
            for name in self._by_last.pop(last):
                yield self._traces.pop(name)

    def pop_begun(self, through: int) -> Iterator[Trace]:
        """Take out the traces that began in window ``through`` or before."""
        for name in [name for name, trace in self._traces.items() if trace.first_window <= through]:
            trace = self._traces.pop(name)
            self._by_last[trace.last_window].pop(name, None)
            yield trace

    def pop_longest_silent(self) -> Trace | None:
        """Take out the trace that has been silent for longest, or None where none is held."""
        if not self._traces:
            return None
        last = min(last for last, names in self._by_last.items() if names)
        name = next(iter(self._by_last[last]))
        del self._by_last[last][name]
        return self._traces.pop(name)
