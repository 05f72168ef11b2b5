"""``ctrlplane-stream advice ENVIRONMENT:SERVICE``: what we would do now with a rollout that another tool makes.

Made for a step of that other tool: the exit status says whether to go on. Nothing is written.
"""

import asyncio
import time
import traceback
from typing import Any

import click
import msgspec

from ctrlplane_stream.commands.catalog_in_force import unheard_of
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import (
    BROKER_TROUBLE,
    Finite,
    broker_failed,
    fail,
    print_json,
    require_broker,
    takes_json,
    takes_settings,
)
from ctrlplane_stream.commands.rollouts import all_rollouts
from ctrlplane_stream.commands.scope import not_in_catalog, read_scope
from ctrlplane_stream.commands.statuses import end, ends
from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.model.policy import Mode
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import look_at_state

STATUS = {e.Word.ADVANCE: 0, e.Word.ABORT: 1, e.Word.WAIT: 4}
"""2 is a wrong call, as of every command."""
NOTHING_KNOWN = 3
"""Also of everything that kept us from asking: whoever aborts on 1 must not do so since a broker was away or a name was mistyped."""
_LOOK_SECONDS = 3.0


class Advised(msgspec.Struct, frozen=True):
    """What is advised on a service, or why nothing is (``rollout`` None)."""

    text: str
    rollout: str | None = None
    word: e.Word | None = None
    phase: str | None = None
    version: str | None = None
    weights: dict[str, int] = {}

    @property
    def status(self) -> int:
        """The exit status."""
        return STATUS[self.word] if self.word is not None else NOTHING_KNOWN


def advised(state: State, service: str, version: str | None) -> Advised:
    """The advice on the latest rollout that another tool made of a service (to that version, where one is given)."""
    found = [r for r in all_rollouts(state) if r.advice is not None and r.units[0].service == service]
    chosen = [r for r in found if version is None or r.units[0].candidate == version]
    if not chosen or chosen[-1].advice is None:
        entry = state.find(f"service/{service}", ServiceInEnvironment)
        if entry is not None and entry.policy.mode is not Mode.ADVISE:
            ours = f"we roll it out ourselves, see `ctrlplane-stream rollouts {state.environment}`"
            how = "for advice on another tool's rollouts give it a policy with `mode: advise` in the catalog"
            return Advised(f"{service} is not in mode advise: {ours}; {how}")
        seen = ", ".join(r.units[0].candidate for r in found) or "none"
        return Advised(f"no rollout of {service}{f' to {version}' if version else ''} was seen; seen were: {seen}")
    latest = chosen[-1]
    assert latest.advice is not None
    return Advised(
        latest.advice.text, latest.id, latest.advice.word, latest.phase, latest.units[0].candidate, latest.weights.get(service, {})
    )


class Asking(Command):
    """A command that ends with NOTHING_KNOWN wherever it fails: what click and Python have for that is a word of advice."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it, but for the status of what failed or was interrupted."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.UsageError):
            raise
        except click.ClickException as error:
            error.exit_code = NOTHING_KNOWN
            raise
        except (Exception, KeyboardInterrupt):
            traceback.print_exc()
            raise SystemExit(NOTHING_KNOWN) from None


@click.command(cls=Asking)
@click.argument("target", metavar="ENVIRONMENT:SERVICE")
@click.option(
    "--version", metavar="LABEL", help="The version's label as telemetry carries it; default: the latest that was seen to be rolled out."
)
@click.option(
    "--wait",
    "wait_seconds",
    default=0.0,
    metavar="SECONDS",
    show_default=True,
    type=Finite(0),
    help="How long to wait for a word that is not `wait`.",
)
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
@ends({
    STATUS[e.Word.ADVANCE]: "go on",
    STATUS[e.Word.ABORT]: "abort",
    STATUS[e.Word.WAIT]: "wait",
    NOTHING_KNOWN: "nothing can be said: no such rollout was seen, the catalog has no such service, we make its rollouts ourselves, or "
    "the broker could not be asked",
})  # fmt: skip
def advice(settings: Settings, as_json: bool, target: str, version: str | None, wait_seconds: float) -> None:
    """Say what we would do with the rollout of a service that another tool moves (policy `mode: advise`)."""
    environment, service, _ = read_scope(target)
    if service is None:
        raise click.UsageError(f"{target} names no service: give ENVIRONMENT:SERVICE")
    require_broker(settings)
    deadline = time.monotonic() + wait_seconds
    while True:
        state = _state(settings, environment)
        if state.find("catalog", e.CatalogEntry) is None:
            fail(unheard_of(settings, environment))
        if (unknown := not_in_catalog(state, service)) is not None:
            fail(unknown)
        found = advised(state, service, version)
        if found.status in (STATUS[e.Word.ADVANCE], STATUS[e.Word.ABORT]) or time.monotonic() >= deadline:
            break
        time.sleep(min(_LOOK_SECONDS, max(0.1, deadline - time.monotonic())))
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found.word}: {found.text}" if found.word is not None else found.text, err=found.status == NOTHING_KNOWN)
    end(found.status)


def _state(settings: Settings, environment: str) -> State:
    try:
        return asyncio.run(look_at_state(settings, environment))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
