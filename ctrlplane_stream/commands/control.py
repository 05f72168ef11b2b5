"""``ctrlplane-stream control VERB …``: overrule the engine. A command a verb, each with the options that mean something to it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import click

from ctrlplane_stream.commands.groups import Command, Group
from ctrlplane_stream.commands.options import BROKER_TROUBLE, Finite, broker_failed, takes_json, takes_settings
from ctrlplane_stream.commands.publishing import SOURCE, new_id, report, send, takes_wait, who_am_i
from ctrlplane_stream.commands.scope import nowhere, read_scope
from ctrlplane_stream.commands.statuses import DIFFERENT, DONE, FAILED, ends
from ctrlplane_stream.commands.verbs import MEANINGS, PLACE, SCOPES, SERVICE
from ctrlplane_stream.decision.overrides import OVERRIDES_KEPT
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.answers import Answer
from ctrlplane_stream.stream.deciding import SKIPPED
from ctrlplane_stream.stream.looking import look, look_at_state
from ctrlplane_stream.wire.artifacts import named_wrongly
from ctrlplane_stream.wire.control import OverrideData, write_control

_Command = Callable[..., Any]

_MINUTES, _OFFSET = Finite(0, 100 * 366 * 24 * 60, min_open=True), click.IntRange(0)

_OPTIONS: dict[str, Callable[[_Command], _Command]] = {
    "--version": click.option("--version", metavar="LABEL", help="The version's label, such as '#3' (in quotes)."),
    "--artifact": click.option("--artifact", metavar="IMAGE@DIGEST", required=True, help="What runs there."),
    "--told-as": click.option("--told-as", metavar="LABEL", help="The version label that its telemetry carries. [its digest]"),
    "--all-steps": click.option("--all-steps", is_flag=True, help="Through all steps, not only the next."),
    "--unsafe": click.option("--unsafe", is_flag=True, help="Send traffic also to what is not seen to be ready: breaks make-before-break."),
    "--for": click.option("--for", "for_minutes", metavar="MINUTES", type=_MINUTES, help="How long, until it ends by itself. [no end]"),
    "--fact-offset": click.option("--fact-offset", metavar="OFFSET", type=_OFFSET, help="The parked fact's place in the topic `facts`."),
}
"""Options that mean something to some verbs only; which, their rows in MEANINGS say."""

_STATUSES = {
    DONE: "the engine did it (with --wait 0: the broker has it); also where the same --id had been done before",
    FAILED: "nothing was changed, and why: refused, nothing there to do it with (as where the rollout has ended), or no broker took it",
    DIFFERENT: "the broker has it, and it was not acted on within --wait seconds: no engine runs (the first that does acts on it), or "
    "the environment stands still (the command says why, and what to type)",
}


class _Verbs(Group):
    """The verbs in the order of MEANINGS: what is said together stands together."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added."""
        return list(self.commands)


class _VerbCommand(Command):
    """A verb that says of an option which it does not take whose it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            takers = [str(verb) for verb, meaning in MEANINGS.items() if error.option_name in meaning.options]
            if not takers:
                raise
            said = f"{error.option_name} means nothing to {self.name}; it is for {', '.join(sorted(takers))}"
            raise click.UsageError(said, ctx) from None


@click.group(cls=_Verbs)
def control() -> None:
    """Overrule the engine on a rollout, a service or a whole environment.

    `control VERB --help` says what a verb does and takes. abort, pause and freeze are never refused. Every override carries who and why,
    and stays in the log.
    """


def _verb_command(verb: OverrideVerb) -> click.Command:
    meaning = MEANINGS[verb]

    def run(settings: Settings, as_json: bool, scope: str, why: str, who: str | None, event_id: str | None, wait_seconds: float,
            **more: Any) -> None:  # fmt: skip
        data = _overrule(verb, scope, why, who, more)
        value = write_control(event_id or new_id(), SOURCE, data)
        told = send(settings, "control", value, f"{verb} {scope}", environment=data.environment, wait=wait_seconds)
        wrong = _mistyped(settings, verb, scope, told.answers) or _skipped_nothing(settings, data, told.answers)
        report(told, as_json, waited=wait_seconds, wrong=wrong, unanswered=DIFFERENT)

    run.__doc__ = f"{meaning.line}\n\n{meaning.more}\n\n{SCOPES[meaning.scope]}"
    command: _Command = takes_json(ends(_STATUSES)(run))
    command = takes_wait(takes_settings("kafka_", "topic_", "partitions")(command))
    once = f"The override's id; the same of one scope twice, with fewer than {OVERRIDES_KEPT} others between, is one override. [a new one]"
    command = click.option("--id", "event_id", metavar="ID", help=once)(command)
    command = click.option("--who", metavar="NAME", help="Who overrules. [the user's name]")(command)
    for option in reversed(meaning.options):
        command = _OPTIONS[option](command)
    command = click.option("--why", metavar="REASON", required=True, help="The reason; it stays in the log.")(command)
    command = click.argument("scope", metavar=meaning.scope)(command)
    return click.command(str(verb), cls=_VerbCommand, short_help=meaning.line)(command)


for _verb in MEANINGS:
    control.add_command(_verb_command(_verb))


def _overrule(verb: OverrideVerb, scope: str, why: str, who: str | None, more: dict[str, Any]) -> OverrideData:
    """The override as it is written; a usage error for what the engine could only refuse, or would take for something else."""
    environment, service, rollout = read_scope(scope)
    _refuse_what_cannot_be(verb, scope, why)
    _labelled(more.get("version"))
    image, digest = _named(more.get("artifact"))
    for_minutes = more.get("for_minutes")
    return OverrideData(
        verb=verb,
        environment=environment,
        who=who or who_am_i(),
        why=why,
        rollout=rollout,
        service=service,
        version=more.get("version") or more.get("told_as"),
        image=image,
        digest=digest,
        all_steps=more.get("all_steps", False),
        unsafe=more.get("unsafe", False),
        expires_ms=int(time.time() * 1000 + for_minutes * 60_000) if for_minutes else None,
        fact_offset=more.get("fact_offset"),
    )


def _refuse_what_cannot_be(verb: OverrideVerb, scope: str, why: str) -> None:
    environment, service, rollout = read_scope(scope)
    if not environment or service == "":
        raise click.UsageError(f"{scope!r} is no ENVIRONMENT, ENVIRONMENT:SERVICE or ROLLOUT")
    if not why.strip():
        raise click.UsageError("--why must say why: it stays in the log")
    takes = MEANINGS[verb].scope
    if takes == PLACE and rollout is not None:
        raise click.UsageError(f"{verb} takes ENVIRONMENT or ENVIRONMENT:SERVICE, and not a rollout; to hold that, pause it")
    if takes == SERVICE and service is None:
        raise click.UsageError(f"{verb} takes ENVIRONMENT:SERVICE")


def _labelled(version: str | None) -> None:
    """A usage error for a number where a version's label is meant, which begins with what a shell takes for a comment."""
    if version is not None and version.isdigit():
        raise click.UsageError(f"no version is labelled {version}; did you mean --version '#{version}', in quotes?")


def _named(artifact: str | None) -> tuple[str | None, str | None]:
    """Image and digest of what is to be adopted, where something is; a usage error where they are not named rightly."""
    if artifact is None:
        return None, None
    image, _, digest = artifact.partition("@")
    if (wrong := named_wrongly(image, digest)) is not None:
        raise click.UsageError(f"adopt needs --artifact IMAGE@sha256:… of what runs there: {wrong}")
    return image, digest


def _mistyped(settings: Settings, verb: OverrideVerb, scope: str, answers: tuple[Answer, ...]) -> str | None:
    """That there is nothing of that name where nothing came of an override, or where a freeze stands of what there is not: with what
    there is instead. A mistyped emergency stop must not go unnoticed."""
    environment, service, rollout = read_scope(scope)
    heard = any(answer.environment is not None and (answer.in_vain or verb is OverrideVerb.FREEZE) for answer in answers)
    if not heard or (service is None and rollout is None):
        return None
    try:
        state = asyncio.run(look_at_state(settings, environment))
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    if (wrong := nowhere(state, service, rollout)) is None:
        return None
    again = f"; `control unfreeze {scope}` takes it back" if verb is OverrideVerb.FREEZE else ""
    return f"{verb} met nothing: {wrong}{again}"


def _skipped_nothing(settings: Settings, data: OverrideData, answers: tuple[Answer, ...]) -> str | None:
    """That the fact which a skip names was not parked, once the engine has heard of the skip: the log has no decision that says it was."""
    if data.fact_offset is None or not any(answer.environment is not None for answer in answers):
        return None
    try:
        decisions = asyncio.run(look(settings, data.environment)).decisions
    except BROKER_TROUBLE as error:
        broker_failed(settings, error)
    return not_skipped(data.environment, data.fact_offset, [decided for _, decided in decisions])


def not_skipped(environment: str, fact_offset: int, decisions: Iterable[Decided]) -> str | None:
    """Why nothing was skipped, by the environment's decisions; None where that fact was, now or before."""
    found = [decided for decided in decisions if decided.fact_offset == fact_offset]
    if any(reason.code == SKIPPED for decided in found for reason in decided.reasons):
        return None
    why = "was decided" if found else f"is none of {environment} that waits"
    return f"nothing was skipped: fact {fact_offset} {why}, and is not parked"
