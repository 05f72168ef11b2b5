"""``ctrlplane-stream control VERB``: overrule the engine."""

import asyncio
import sys
import time

import click

from ctrlplane_stream.commands.options import BROKER_TROUBLE, EXIT_DIFFERENT, broker_failed, fail, takes_json, takes_settings
from ctrlplane_stream.commands.publishing import SOURCE, new_id, report, send, takes_wait, who_am_i
from ctrlplane_stream.commands.scope import nowhere, read_scope
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.looking import look_at_state
from ctrlplane_stream.wire.artifacts import named_wrongly
from ctrlplane_stream.wire.control import OverrideData, write_control

MEANINGS: dict[OverrideVerb, str] = {
    OverrideVerb.PAUSE: "hold it where it is",
    OverrideVerb.RESUME: "go on after a pause, or over an edit by hand",
    OverrideVerb.PROMOTE: "on to the next step, or with --all-steps through all, without waiting for proof; never past a FAIL",
    OverrideVerb.ABORT: "back to stable, now; acted on ahead of whatever is queued",
    OverrideVerb.FREEZE: "nothing starts or steps forward in the scope, until unfreeze or for --for minutes",
    OverrideVerb.UNFREEZE: "lift the freezes of the scope",
    OverrideVerb.PIN: "stay at --version whatever is pushed",
    OverrideVerb.UNPIN: "follow pushes again",
    OverrideVerb.FORCE: "all further gates are passed over; make-before-break stays",
    OverrideVerb.SKIP: "pass over the gate of this step, or the parked fact at --fact-offset, which no build can decide",
    OverrideVerb.RETRY: "try a reverted version again",
    OverrideVerb.REVERT: "back to --version, make-before-break",
    OverrideVerb.ADOPT: "what runs there already, --artifact, becomes a version of ours as it is: stable at once, unjudged, not restarted",
}
"""Every verb in a line, for the help."""

_FOR_VERBS: dict[str, frozenset[OverrideVerb]] = {
    "--version": frozenset({OverrideVerb.PIN, OverrideVerb.REVERT, OverrideVerb.RETRY}),
    "--artifact": frozenset({OverrideVerb.ADOPT}),
    "--told-as": frozenset({OverrideVerb.ADOPT}),
    "--all-steps": frozenset({OverrideVerb.PROMOTE}),
    "--for": frozenset({OverrideVerb.FREEZE}),
    "--fact-offset": frozenset({OverrideVerb.SKIP}),
}
"""Options that mean something to some verbs only."""

_WHOLE = frozenset({OverrideVerb.FREEZE, OverrideVerb.UNFREEZE})
"""Verbs that never end with one rollout."""

_NEVER_REFUSED = frozenset({OverrideVerb.ABORT, OverrideVerb.PAUSE, OverrideVerb.FREEZE, OverrideVerb.RESUME})
"""Verbs that the engine answers with what it did, be it nothing."""

_OF_A_SERVICE = frozenset({OverrideVerb.PIN, OverrideVerb.UNPIN, OverrideVerb.ADOPT})


@click.command(epilog="\b\n" + "\n".join(f"{verb:<9} {meaning}" for verb, meaning in MEANINGS.items()))
@click.argument("verb", metavar="VERB", type=click.Choice([str(v) for v in OverrideVerb]))
@click.argument("scope", metavar="ENVIRONMENT[:SERVICE] or ROLLOUT")
@click.option("--why", required=True, help="The reason; it stays in the log.")
@click.option("--who", default=None, help="Who overrules; default: the user's name.")
@click.option("--version", help="pin, revert, retry: the version's label, such as '#3'.")
@click.option("--artifact", metavar="IMAGE@DIGEST", help="adopt: what runs there.")
@click.option("--told-as", metavar="LABEL", help="adopt: the version label that its telemetry carries; default: its digest.")
@click.option("--all-steps", is_flag=True, help="promote: through all steps.")
@click.option("--unsafe", is_flag=True, help="Permit what would break make-before-break.")
@click.option("--for", "for_minutes", type=click.FloatRange(0, min_open=True), help="freeze: minutes until it ends by itself.")
@click.option("--fact-offset", type=click.IntRange(0), help="skip: the offset of the parked fact to pass over.")
@click.option("--id", "event_id", help="The override's id; the same id twice is one override. Default: a new one.")
@takes_wait
@takes_settings("kafka_", "topic_", "partitions")
@takes_json
def control(
    settings: Settings, as_json: bool, verb: str, scope: str, why: str, who: str | None, version: str | None, artifact: str | None,
    told_as: str | None, all_steps: bool, unsafe: bool, for_minutes: float | None, fact_offset: int | None, event_id: str | None,
    wait_seconds: float,
) -> None:  # fmt: skip
    """Overrule the engine on a rollout (its id), a service (ENVIRONMENT:SERVICE) or a whole environment. The verbs are below.

    abort, pause and freeze are never refused. Everything else keeps make-before-break unless --unsafe is given.

    Exit status 0: the engine did it (with --wait 0: the broker has it); 1: refused, with the reason, or there is no such thing; 3: the
    broker has it, and no engine answered in time.
    """
    environment, service, rollout = read_scope(scope)
    given = {
        "--version": version, "--artifact": artifact, "--told-as": told_as, "--all-steps": all_steps, "--for": for_minutes,
        "--fact-offset": fact_offset,
    }  # fmt: skip
    used = frozenset(name for name, value in given.items() if value is not None and value is not False)
    _refuse_what_cannot_be(OverrideVerb(verb), scope, why, used)
    _labelled(version)
    image, digest = _named(OverrideVerb(verb), artifact)
    data = OverrideData(
        verb=OverrideVerb(verb),
        environment=environment,
        who=who or who_am_i(),
        why=why,
        rollout=rollout,
        service=service,
        version=version or told_as,
        image=image,
        digest=digest,
        all_steps=all_steps,
        unsafe=unsafe,
        expires_ms=int(time.time() * 1000 + for_minutes * 60_000) if for_minutes else None,
        fact_offset=fact_offset,
    )
    value = write_control(event_id or new_id(), SOURCE, data)
    told = send(settings, "control", value, f"{verb} {scope}", environment=environment, wait=wait_seconds)
    report(told, as_json, waited=wait_seconds)
    if wait_seconds and not told.answers:
        sys.exit(EXIT_DIFFERENT)
    if told.answers:
        _notice_mistyped(settings, OverrideVerb(verb), scope)


def _refuse_what_cannot_be(verb: OverrideVerb, scope: str, why: str, given: frozenset[str]) -> None:
    """A usage error for what the engine could only refuse, or would take for something else."""
    environment, service, rollout = read_scope(scope)
    if not environment or service == "":
        raise click.UsageError(f"{scope!r} is no ENVIRONMENT, ENVIRONMENT:SERVICE or ROLLOUT")
    if not why.strip():
        raise click.UsageError("--why must say why: it stays in the log")
    if verb in _WHOLE and rollout is not None:
        raise click.UsageError(f"{verb} takes ENVIRONMENT or ENVIRONMENT:SERVICE, and not a rollout; to hold that, pause it")
    if verb in _OF_A_SERVICE and service is None:
        raise click.UsageError(f"{verb} takes ENVIRONMENT:SERVICE")
    for name in sorted(given):
        if verb not in _FOR_VERBS[name]:
            raise click.UsageError(f"{name} means nothing to {verb}; it is for {', '.join(sorted(_FOR_VERBS[name]))}")


def _labelled(version: str | None) -> None:
    """A usage error for a number where a version's label is meant, which begins with what a shell takes for a comment."""
    if version is not None and version.isdigit():
        raise click.UsageError(f"no version is labelled {version}; did you mean --version '#{version}', in quotes?")


def _named(verb: OverrideVerb, artifact: str | None) -> tuple[str | None, str | None]:
    """Image and digest of what is to be adopted; a usage error where that is not named."""
    if verb is not OverrideVerb.ADOPT:
        return None, None
    image, _, digest = (artifact or "").partition("@")
    if (wrong := named_wrongly(image, digest)) is not None:
        raise click.UsageError(f"adopt needs --artifact IMAGE@sha256:… of what runs there: {wrong}")
    return image, digest


def _notice_mistyped(settings: Settings, verb: OverrideVerb, scope: str) -> None:
    """Fail where a verb that the engine never refuses names nothing that there is: a mistyped emergency stop must not go unnoticed."""
    environment, service, rollout = read_scope(scope)
    if verb not in _NEVER_REFUSED or (service is None and rollout is None):
        return
    try:
        state = asyncio.run(look_at_state(settings, environment))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    if (wrong := nowhere(state, service, rollout)) is not None:
        again = f"; `control unfreeze {scope}` takes it back" if verb is OverrideVerb.FREEZE else ""
        fail(f"{verb} met nothing: {wrong}{again}")
