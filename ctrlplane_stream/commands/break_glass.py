"""``ctrlplane-stream break-glass``: steer a target on the target itself, when Kafka or the engine cannot.

It speaks to the target's world alone. The engine, once it is back, finds what was done as a fact and goes on from there.
"""

import asyncio
from collections.abc import Awaitable, Callable

import click

from ctrlplane_stream.actuators.by_hand import ByHand, HandRefused
from ctrlplane_stream.actuators.named import UnknownActuator, UnmadeActuator, actuator_named, known_actuators
from ctrlplane_stream.actuators.port import Actuator, WorldUnreachable
from ctrlplane_stream.commands.groups import Group
from ctrlplane_stream.commands.options import fail, print_json, takes_json, takes_settings
from ctrlplane_stream.commands.publishing import who_am_i
from ctrlplane_stream.commands.statuses import DONE, FAILED, ends
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import TargetObserved
from ctrlplane_stream.settings import Settings

_Steering = Callable[[Actuator], Awaitable[TargetObserved]]
_in_world = click.option(
    "--actuator",
    default="process",
    show_default=True,
    metavar="NAME",
    help="The actuator that the catalog names for it: process, kubernetes, gitops, or another package's.",
)


@click.group(name="break-glass", cls=Group)
def break_glass() -> None:
    """Steer a service directly where it runs, without Kafka and without the engine."""


@break_glass.command(short_help="Move all traffic of a service to stable, now.")
@click.argument("target", metavar="ENVIRONMENT:SERVICE")
@click.option("--who", metavar="NAME", default=who_am_i, help="Who does it. [the user's name]")
@click.option("--why", metavar="REASON", default="", help="The reason, for whoever finds it later.")
@_in_world
@takes_settings("host_url", "kubernetes_", "gitops_")
@takes_json
@ends({DONE: "all its traffic goes to stable", FAILED: "it was not done, with the reason"})
def abort(settings: Settings, target: str, actuator: str, who: str, why: str, as_json: bool) -> None:
    """Move all traffic of a service in an environment (production:shop/cart) to its stable version, now."""
    parsed = _target(target)

    async def steer(world: Actuator) -> TargetObserved:
        if not isinstance(world, ByHand):
            fail(f"the actuator {actuator} offers no break-glass: use the world's own tools")
        return await world.break_glass(parsed, who, why)

    _print(_run(settings, actuator, steer), as_json)


@break_glass.command(short_help="Show what runs of a service, and how its traffic is split.")
@click.argument("target", metavar="ENVIRONMENT:SERVICE")
@_in_world
@takes_settings("host_url", "kubernetes_", "gitops_")
@takes_json
@ends({DONE: "shown", FAILED: "nothing of it is there, or its world does not answer"})
def show(settings: Settings, target: str, actuator: str, as_json: bool) -> None:
    """Show what runs of a service in an environment (production:shop/cart), and how its traffic is split."""
    parsed = _target(target)
    seen = _run(settings, actuator, lambda world: world.observe(parsed))
    _print(seen, as_json)
    if not seen.versions:
        fail(f"nothing of {parsed} is in the world of the actuator {actuator}: {_others(actuator)}; or its name is written otherwise")


def _target(text: str) -> Target:
    environment, colon, service = text.partition(":")
    if not (environment and colon and service):
        raise click.BadParameter(f"{text!r} is no target: give environment:namespace/name, as in production:shop/cart")
    return Target(environment, service)


def _run(settings: Settings, actuator: str, steering: _Steering) -> TargetObserved:
    async def steer() -> TargetObserved:
        world = actuator_named(actuator, settings)
        try:
            return await steering(world)
        finally:
            close = getattr(world, "close", None)
            if close is not None:
                await close()

    try:
        return asyncio.run(steer())
    except UnmadeActuator as error:
        fail(str(error))
    except UnknownActuator as error:
        raise click.UsageError(str(error)) from None
    except (HandRefused, WorldUnreachable) as error:
        fail(f"{error} (asked was the actuator {actuator}: {_others(actuator)})")


def _others(actuator: str) -> str:
    others = ", ".join(name for name in known_actuators() if name != actuator)
    return f"where the catalog names another for this target, give it as --actuator: {others}"


def _print(seen: TargetObserved, as_json: bool) -> None:
    if as_json:
        print_json(seen)
        return
    click.echo(f"{seen.target}")
    for version in seen.versions:
        failure = f"  {version.failure}" if version.failure else ""
        click.echo(f"  {version.label}  {version.weight:>3}%  {version.ready}/{version.instances} ready{failure}")
    for what in (seen.edited and f"edited by hand: {seen.edited}", seen.break_glass and f"broken glass: {seen.break_glass}"):
        if what:
            click.echo(f"  {what}")
    if seen.lease_expired:
        click.echo("  the lease ran out; the target went to stable")
