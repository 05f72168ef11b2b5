"""What a person sees while the demo runs: acts, rollouts with weights and verdicts, the graph, and every reason as it falls.

On a terminal the picture is redrawn twice a second; elsewhere (a log, CI) each new line is printed once.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ctrlplane_stream.decision.assigning import step_count
from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.ending import end_tasks
from ctrlplane_stream.local.demo.audience import Audience
from ctrlplane_stream.model.decisions import Reason
from ctrlplane_stream.model.facts import EdgeSeen
from ctrlplane_stream.model.verdicts import VerdictStatus

_REDRAW_SECONDS = 0.5
_REASONS_SHOWN = 12
_FEWEST_REASONS = 4
_ROLLOUTS_SHOWN = 6
_FRAMES = 7
"""Lines of the picture besides what the panels hold: the title and three frames."""
_QUIET = frozenset({"time-passed", "arrivals", "edges", "repeated", "verdict-ignored"})
"""Codes of reasons that only say that time or telemetry went by."""
_VERDICT = "verdict:"
_FAIL = f"{_VERDICT}{VerdictStatus.FAIL}"
_NAMES_AND_NUMBERS = re.compile(r"[\w-]+/[\w-]+|\d[\d.,%]*")


class Screen:
    """Shows the audience's view. ``title`` is the act being played."""

    def __init__(self, console: Console, audience: Audience) -> None:
        self._console = console
        self._audience = audience
        self._printed = 0
        self._title = ""
        self._titled_at = time.monotonic()
        self._said: dict[str, str] = {}
        self._kinds: set[str] = set()
        self._alike = 0
        self._live: Live | None = None

    def title(self, text: str) -> None:
        """Say what is being played."""
        self._title, self._titled_at = text, time.monotonic()
        if self._live is None:
            self._print(self._new_lines())
            self._print(self._alike_line())
            self._console.print(f"== {text}", highlight=False, markup=False, soft_wrap=True)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Show until the end of the `with`."""
        live = Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else contextlib.nullcontext()
        if self._live is None and not self._console.is_terminal:
            self._print(["What is decided, as it falls: [partition/offset] of its record on the topic `decisions`, and the reason in it."])
        with live as self._live:
            task = asyncio.create_task(self._keep_showing())
            try:
                yield
            finally:
                await end_tasks([task])
                self._live = None

    async def _keep_showing(self) -> None:
        while True:
            if self._live is not None:
                self._live.update(self._picture(), refresh=True)
            else:
                self._print(self._new_lines())
            await asyncio.sleep(_REDRAW_SECONDS)

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _alike_line(self) -> Iterator[str]:
        """How many verdicts of the act that ends said what had been said already, of another service or with other numbers."""
        if self._alike:
            yield f"  … and {self._alike} verdicts more that say the same with other names and numbers"
        self._kinds, self._alike = set(), 0

    def _new_lines(self) -> Iterator[str]:
        fresh = self._audience.decisions[self._printed :]
        self._printed += len(fresh)
        for seen in fresh:
            for reason in seen.decided.reasons:
                if self._is_news(reason):
                    yield f"  [{seen.partition}/{seen.offset}] {self._worded(reason)}"

    def _is_news(self, reason: Reason) -> bool:
        """Whether a line of its own is due: a verdict comes every second, and is news only where it is another than the last."""
        if reason.rollout is None or reason.code in _QUIET:
            return False
        if not reason.code.startswith(_VERDICT):
            return True
        before, self._said[reason.rollout] = self._said.get(reason.rollout), reason.code
        return before != reason.code and (reason.code == _FAIL or self._is_of_a_new_kind(reason.text))

    def _is_of_a_new_kind(self, text: str) -> bool:
        """Whether no verdict of this act said the same, of another service or with other numbers."""
        kind = _NAMES_AND_NUMBERS.sub("…", text)
        alike = kind in self._kinds
        self._kinds.add(kind)
        self._alike += alike
        return not alike

    def _worded(self, reason: Reason) -> str:
        """A verdict with the services that it is of, and the bake by its name; any other reason as it stands."""
        rollout = self._audience.rollout(reason.rollout) if reason.rollout and reason.code.startswith(_VERDICT) else None
        if rollout is None:
            return reason.text
        text = reason.text.replace(f", step {step_count(rollout)}: ", ", bake: ", 1)
        missing = [u.service for u in rollout.units if u.service not in text]
        return f"{', '.join(missing)}: {text}" if missing else text

    def _picture(self) -> RenderableType:
        graph, rollouts = self._graph_lines(), self._audience.rollouts()
        shown = sorted(rollouts, key=lambda r: r.phase not in ENDED)[-_ROLLOUTS_SHOWN:]
        left = self._console.size.height - _FRAMES - len(shown) - 1
        parts: list[RenderableType] = [
            Text(f"{self._title}  ({time.monotonic() - self._titled_at:.0f} s)", style="bold", no_wrap=True, overflow="ellipsis"),
            Panel(self._rollouts(shown), title="rollouts", title_align="left"),
        ]
        if left - len(graph) >= _FEWEST_REASONS:
            left -= len(graph)
            parts.append(Panel(_lines(graph), title="graph, calls a second", title_align="left"))
        parts.append(
            Panel(_lines(self._reasons(min(left, _REASONS_SHOWN))), title=Text("decisions, by partition and offset"), title_align="left")
        )
        return Group(*parts)

    def _rollouts(self, shown: list[Rollout]) -> RenderableType:
        table = Table(box=None, expand=True)
        for heading, width in (("rollout", 26), ("phase", 12), ("weight", 6), ("", 12), ("verdict", None)):
            table.add_column(heading, min_width=width, no_wrap=True, overflow="ellipsis", ratio=None if width else 1)
        for rollout in shown:
            weight = _weight(rollout)
            table.add_row(rollout.id, _phase(rollout), f"{weight}%", ProgressBar(100, weight, width=12), _verdict(rollout))
        return table

    def _graph_lines(self) -> list[str]:
        return graph_lines(self._audience.edges()) or ["nothing seen yet"]

    def _reasons(self, most: int) -> list[str]:
        lines: list[str] = []
        for seen in reversed(self._audience.decisions[-400:]):
            for r in reversed(seen.decided.reasons):
                if r.rollout is not None and r.code not in _QUIET and (r.code == _FAIL or not r.code.startswith(_VERDICT)):
                    lines.append(f"[{seen.partition}/{seen.offset}] {self._worded(r)}")
            if len(lines) >= most:
                break
        return list(reversed(lines[:most]))


def graph_lines(edges: Iterable[EdgeSeen]) -> list[str]:
    """A line for each caller, sorted: whom it calls, and how often a second."""
    by_caller: dict[str, list[str]] = {}
    for seen in edges:
        by_caller.setdefault(seen.edge.caller, []).append(f"{seen.edge.callee} {seen.calls_per_second:.1f}")
    return [f"{caller} → {', '.join(callees)}" for caller, callees in sorted(by_caller.items())]


def _lines(lines: list[str]) -> Text:
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _weight(rollout: Rollout) -> int:
    if rollout.phase is Phase.COMPLETED:
        return 100
    return max((rollout.weights.get(u.service, {}).get(u.candidate, 0) for u in rollout.units), default=0)


def _phase(rollout: Rollout) -> Text:
    """The phase in its colour; a hold's reason stands in the last column."""
    style = "green" if rollout.phase is Phase.COMPLETED else "red" if rollout.phase in (Phase.ABORTING, Phase.REVERTED) else "cyan"
    held = bool(rollout.holds) and rollout.phase not in ENDED
    return Text(f"{rollout.phase_word}{', held' if held else ''}", style="yellow" if held else style)


def _verdict(rollout: Rollout) -> str:
    if rollout.phase in ENDED:
        return rollout.stopped_because or "all steps passed"
    if rollout.holds:
        return f"held: {rollout.holds[-1].text}"
    last = rollout.history[-1] if rollout.history else None
    return f"{last.status}: {last.reason}" if last else "none yet"
