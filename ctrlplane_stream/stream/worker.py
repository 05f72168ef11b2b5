"""One role as a process: start the app, stay until told to end or until something fails, leave nothing half done.

SIGTERM, SIGINT and SIGHUP finish the event in hand, commit and leave the group. A failure ends the process at once and commits
nothing: whatever was not acknowledged is read again.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from ctrlplane_stream.ending import ending_signals
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.duty import Duty, NotReady
from ctrlplane_stream.stream.framework import StreamApp, sleep_unless
from ctrlplane_stream.stream.memory import keep_memory
from ctrlplane_stream.stream.watchdog import Watchdog

log = logging.getLogger(__name__)

ROLES: dict[str, tuple[str, str]] = {
    "spans": ("spans", "Spans"),
    "judge": ("judge", "Judge"),
    "engine": ("engine", "Engine"),
    "actuate": ("actuate", "Actuate"),
    "project": ("project", "Project"),
}
"""Role → (module under ``roles``, class). Imported only when asked for: each role pays for its own libraries."""

_MOVES_MEGABYTES = frozenset({"spans"})

EXIT_FAILED = 70
_WATCH_SECONDS = 0.25
_STOP_SECONDS = 25.0


def new_duty(settings: Settings, role: str) -> Duty:
    """A role, not started. KeyError for an unknown one."""
    module, name = ROLES[role]
    make: Callable[[Settings], Duty] = getattr(import_module(f"ctrlplane_stream.stream.roles.{module}"), name)
    return make(settings)


def build_app(settings: Settings, role: str) -> StreamApp:
    """The Faust app of a role, not started. KeyError for an unknown role."""
    return new_duty(settings, role).app


def collect_seldom() -> None:
    """Let Python look for reference cycles every 50,000 new containers instead of every 700.

    A window of many edges makes hundreds of thousands of small tuples and dicts and no cycle; looking among them each time was 40% of
    its cost (docs/benchmarks.md, "Spans"). What is loaded by now is never looked at again.
    """
    gc.set_threshold(50_000, 20, 100)
    gc.freeze()


def run_role(settings: Settings, role: str, follow: int | None = None) -> int:
    """Run one role until it is told to end; returns the process's exit status. Does not return after a failure.

    ``follow`` is the process id of a parent to end with: a supervisor that was killed must not leave workers behind.
    """
    import uvloop

    collect_seldom()
    if role in _MOVES_MEGABYTES:
        keep_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(new_duty(settings, role), settings, follow))


async def run(duty: Duty, settings: Settings, follow: int | None = None) -> int:
    """Run a role in the running loop; see ``run_role``."""
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, duty.stopping.set)
    if settings.metrics_port:
        duty.metrics.serve(settings.metrics_port)
    await _start(duty, settings.stall_seconds or None, follow)
    await _stay(duty, Watchdog(duty, settings.stall_seconds), follow)
    if duty.failure is not None:
        _end_at_once()
    log.info("stopping")
    duty.hurry()
    leaving = asyncio.ensure_future(_leave(duty))
    await asyncio.wait({leaving}, timeout=_STOP_SECONDS)
    failure = leaving.exception() if leaving.done() else TimeoutError(f"no end of it after {_STOP_SECONDS:g} s")
    if failure is not None:  # the broker will notice by itself; without it some clients wait for ever, and hear of no cancellation
        log.warning("stopped without leaving the group: %s", failure)
        _end_at_once(0)
    return 0


async def _leave(duty: Duty) -> None:
    await duty.app.stop()
    await duty.close()


async def _start(duty: Duty, patience_seconds: float | None, follow: int | None) -> None:
    """Start the app. Told to end meanwhile, or left by the parent, the process ends at once: it has nothing in hand yet."""
    starting = asyncio.ensure_future(_started(duty, patience_seconds))
    while not starting.done():
        await asyncio.wait({starting}, timeout=_WATCH_SECONDS)
        if not starting.done() and (duty.stopping.is_set() or _is_orphan(follow)):
            log.info("told to end before it had started")
            _end_at_once(0)
    starting.result()


async def _started(duty: Duty, patience_seconds: float | None) -> None:
    try:
        await asyncio.wait_for(duty.check(), patience_seconds)
        await asyncio.wait_for(duty.app.start(), patience_seconds)
    except NotReady as error:
        log.error("%s", error)
        _end_at_once()
    except Exception as error:
        duty.fail(error)
        _end_at_once()
    log.info("started", extra={"fields": {"pid": os.getpid()}})


async def _stay(duty: Duty, watchdog: Watchdog, follow: int | None) -> None:
    """Watch over the app until it is to stop or has failed."""
    while not await sleep_unless(duty.stopping, _WATCH_SECONDS):
        if duty.app.crashed:
            duty.fail(duty.app.crash_reason or RuntimeError("the Faust app crashed"))
        watchdog.look()
        if _is_orphan(follow):
            log.warning("the parent process is gone")
            duty.stopping.set()


def _is_orphan(follow: int | None) -> bool:
    return follow is not None and os.getppid() != follow


def _end_at_once(status: int = EXIT_FAILED) -> NoReturn:
    """No clean-up: it would acknowledge and commit what is not safe."""
    logging.shutdown()
    os._exit(status)
