"""What an act is: a promise, a way to play it, and findings that say whether the promise was kept."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka.errors import KafkaError

from ctrlplane_stream.decision.entities import Rollout
from ctrlplane_stream.local.demo.audience import NotSeen
from ctrlplane_stream.local.demo.report import ActReport, report_rollout
from ctrlplane_stream.local.shop.topology import SERVICES
from ctrlplane_stream.wire.kafka_clients import NoBroker

if TYPE_CHECKING:
    from ctrlplane_stream.local.demo.stage import Stage


class Findings:
    """Collects what an act found; nothing it is told ends the act early."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.rollouts: list[Rollout] = []
        self.figures: dict[str, Any] = {}

    def expect(self, holds: bool, promised: str) -> None:
        """Note a promise that was not kept."""
        if not holds:
            self.failures.append(f"not so: {promised}")

    def about(self, rollout: Rollout) -> None:
        """Put a rollout into the report, as it is by the end of the act."""
        self.rollouts = [r for r in self.rollouts if r.id != rollout.id] + [rollout]


Play = Callable[["Stage", Findings], Awaitable[None]]


class Act(msgspec.Struct, frozen=True):
    """An act of the demo. ``promise`` is one sentence that the topics must show."""

    name: str
    promise: str
    play: Play


async def play(act: Act, stage: "Stage") -> ActReport:
    """Play an act and report; what it waited for in vain, or could not say, is a broken promise and no exception."""
    findings, began, began_at = Findings(), time.monotonic(), time.time()
    try:
        await act.play(stage, findings)
    except NotSeen as missing:
        findings.failures.append(str(missing))
    except (KafkaError, NoBroker, OSError) as error:
        findings.failures.append("; ".join(stage.troubles()) or f"the broker does not take what is said: {error!r}")
    requests = stage.requests()
    rollouts = tuple(
        report_rollout(stage.audience, stage.audience.rollout(r.id) or r, requests, [s.name for s in SERVICES]) for r in findings.rollouts
    )
    return ActReport(
        name=act.name,
        promise=act.promise,
        kept=not findings.failures,
        failures=tuple(findings.failures),
        seconds=time.monotonic() - began,
        rollouts=rollouts,
        figures=findings.figures,
        machine=stage.machine.between(began_at, time.time(), requests),
    )
