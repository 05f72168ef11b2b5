"""What a person sees while the demo runs: acts, rollouts with weights and verdicts, the graph, and every reason as it falls.

On a terminal the picture is redrawn twice a second; elsewhere (a log, CI) each new line is printed once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.local.demo.audience import Audience

_REDRAW_SECONDS = 0.5
_REASONS_SHOWN = 12
_ROLLOUTS_SHOWN = 6
_QUIET = frozenset({"time-passed", "arrivals", "edges", "repeated"})
"""Codes of reasons that only say that time or telemetry went by."""


class Screen:
    """Shows the audience's view. ``title`` is the act being played."""

    def __init__(self, console: Console, audience: Audience) -> None:
        self._console = console
        self._audience = audience
        self._printed = 0
        self._title = ""
        self._live: Live | None = None

    def title(self, text: str) -> None:
        """Say what is being played."""
        self._title = text
        if self._live is None:
            self._console.print(f"== {text}", highlight=False, markup=False)

    @contextlib.asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        """Show until the end of the `with`."""
        live = Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else contextlib.nullcontext()
        with live as self._live:
            task = asyncio.create_task(self._keep_showing())
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                self._live = None

    async def _keep_showing(self) -> None:
        while True:
            if self._live is not None:
                self._live.update(self._picture(), refresh=True)
            else:
                for line in self._new_lines():
                    self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            await asyncio.sleep(_REDRAW_SECONDS)

    def _new_lines(self) -> Iterator[str]:
        fresh = self._audience.decisions[self._printed :]
        self._printed += len(fresh)
        for seen in fresh:
            for reason in seen.decided.reasons:
                if reason.rollout is not None and reason.code not in _QUIET:
                    yield f"  [{seen.partition}/{seen.offset}] {reason.text}"

    def _picture(self) -> RenderableType:
        return Group(
            Text(self._title, style="bold"),
            Panel(self._rollouts(), title="rollouts", title_align="left"),
            Panel(self._graph(), title="graph, calls a second", title_align="left"),
            Panel(self._reasons(), title="decisions", title_align="left"),
        )

    def _rollouts(self) -> RenderableType:
        table = Table(box=None, expand=True)
        for heading in ("rollout", "phase", "weight", "", "verdict"):
            table.add_column(heading)
        for rollout in self._audience.rollouts()[-_ROLLOUTS_SHOWN:]:
            weight = _weight(rollout)
            table.add_row(rollout.id, _phase(rollout), f"{weight}%", ProgressBar(100, weight, width=20), _verdict(rollout))
        return table

    def _graph(self) -> RenderableType:
        by_caller: dict[str, list[str]] = {}
        for seen in self._audience.edges():
            by_caller.setdefault(seen.edge.caller, []).append(f"{seen.edge.callee} {seen.calls_per_second:.1f}")
        return Text("\n".join(f"{caller} → {', '.join(callees)}" for caller, callees in sorted(by_caller.items())) or "nothing seen yet")

    def _reasons(self) -> RenderableType:
        lines: list[str] = []
        for seen in reversed(self._audience.decisions[-200:]):
            lines += [r.text for r in seen.decided.reasons if r.rollout is not None and r.code not in _QUIET]
            if len(lines) >= _REASONS_SHOWN:
                break
        return Text("\n".join(reversed(lines[:_REASONS_SHOWN])))


def _weight(rollout: Rollout) -> int:
    if rollout.phase is Phase.COMPLETED:
        return 100
    return max((rollout.weights.get(u.service, {}).get(u.candidate, 0) for u in rollout.units), default=0)


def _phase(rollout: Rollout) -> Text:
    style = "green" if rollout.phase is Phase.COMPLETED else "red" if rollout.phase in (Phase.ABORTING, Phase.REVERTED) else "cyan"
    held = "" if not rollout.holds or rollout.phase in ENDED else f" held: {rollout.holds[-1].text}"
    return Text(f"{rollout.phase}{held}", style="yellow" if held else style)


def _verdict(rollout: Rollout) -> str:
    if rollout.phase in ENDED:
        return rollout.stopped_because or "all steps passed"
    last = rollout.history[-1] if rollout.history else None
    return f"{last.status}: {last.reason}" if last else "none yet"
