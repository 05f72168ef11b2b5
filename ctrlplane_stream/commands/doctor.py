"""``ctrlplane-stream doctor``: is everything around the program as it must be? Each line in order, or with the remedy."""

import asyncio
import os

import click
from aiokafka.errors import KafkaConnectionError, KafkaError

from ctrlplane_stream.commands.checkup import (
    check_broker,
    check_clock,
    check_compiled,
    check_settings,
    check_telemetry,
    check_topics,
)
from ctrlplane_stream.commands.checkup_environments import check_environments
from ctrlplane_stream.commands.checkup_letters import check_dead_letters
from ctrlplane_stream.commands.checkup_roles import check_role
from ctrlplane_stream.commands.checkup_variables import check_variables
from ctrlplane_stream.commands.findings import Finding, Health, wrong
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import print_json, takes_json, takes_settings
from ctrlplane_stream.commands.statuses import DIFFERENT, DONE, end, ends
from ctrlplane_stream.commands.unread import findings_or_why_not
from ctrlplane_stream.decision.native import why_not_compiled
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.worker import ROLES
from ctrlplane_stream.telemetry.native import why_no_library
from ctrlplane_stream.wire.topic_admin import admin_client


@click.command(cls=Command)
@takes_settings("")
@takes_json
@click.pass_context
@ends({DONE: "nothing is wrong", DIFFERENT: "something is, be it that no broker answers: each line names the remedy"})
def doctor(context: click.Context, settings: Settings, as_json: bool) -> None:
    """Check settings, broker, topics, clocks, roles and their lag, environments that stand still, dead letters, and spans.

    Of spans, whether they come in time and tell versions apart.

    Where targets live on Kubernetes: whether we may do there what we must, whether there are ways for weights that gateways go by,
    whether Argo CD and Flux leave alone what is ours, and whether the placement file has the templates that the catalog names.

    Where targets are rolled out by commits: their repositories and fields, and the same of Argo CD and Flux by what is in these.

    To compare the clocks a topic is made and deleted.
    """
    findings = [*check_variables(os.environ, context.find_root().command), *asyncio.run(examine(settings))]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            click.echo(finding.line())
    if any(finding.health is Health.WRONG for finding in findings):
        end(DIFFERENT)


async def examine(settings: Settings) -> list[Finding]:
    """All findings; where the broker or the topics are missing, the checks that need them are left out."""
    findings = [*check_settings(settings), *check_compiled(why_no_library(), why_not_compiled())]
    if settings.gitops_placement:
        from ctrlplane_stream.commands.checkup_gitops import check_gitops  # slow to import, and most have no such file

        findings += await check_gitops(settings)
    if settings.kubernetes_placement:
        from ctrlplane_stream.commands.checkup_kubernetes import check_kubernetes  # the same

        findings += await check_kubernetes(settings)
    if settings.redis_url:
        from ctrlplane_stream.commands.checkup_redis import check_redis  # the same

        findings += await check_redis(settings)
    if not settings.kafka_bootstrap_servers:
        return [*findings, wrong("broker", "none is named", "set KAFKA_BOOTSTRAP_SERVERS to host:port")]
    try:
        async with admin_client(settings) as client:
            for check, asked in (("broker", check_broker), ("topics", check_topics), ("clock", check_clock)):
                findings += await findings_or_why_not(check, asked(client, settings))
            roles = (findings_or_why_not(f"worker {role}", check_role(client, settings, role)) for role in ROLES)
            findings += [finding for found in await asyncio.gather(*roles) for finding in found]
        findings += await findings_or_why_not("environments", check_environments(settings))
        findings += await findings_or_why_not("dead letters", check_dead_letters(settings))
        findings += await findings_or_why_not("telemetry", check_telemetry(settings))
        if settings.kubernetes_placement:
            from ctrlplane_stream.commands.checkup_templates import check_templates  # slow to import, and most have no such file

            findings += await findings_or_why_not("templates", check_templates(settings))
    except (KafkaError, OSError) as error:
        remedy = "see that it runs and that its address, protocol and credentials are the ones set"
        said = "nothing answers" if isinstance(error, KafkaConnectionError | OSError) else str(error) or type(error).__name__
        findings.append(wrong("broker", f"{settings.kafka_bootstrap_servers}: {said}", remedy))
    return findings
