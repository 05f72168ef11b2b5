"""The command line: a map from names to the modules that hold them, loaded only when called.

Loading lazily keeps `--help` and each worker role fast: the columnar libraries and the Kubernetes client take longer
to import than most commands take to run.
"""

import logging
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "advice": ("advice", "What we would do with a rollout that another tool makes."),
    "artifact": ("artifact", "Offer an artifact to the engine."),
    "break-glass": ("break_glass", "Move a target to stable on the spot, without Kafka."),
    "catalog": ("catalog", "Compare and apply the catalog."),
    "control": ("control", "Overrule the engine: pause, resume, promote, abort …"),
    "dead-letters": ("dead_letters", "List and replay what could not be read."),
    "demo": ("demo", "Run the whole loop on this machine and play it through."),
    "doctor": ("doctor", "Check broker, topics, clocks, lag and settings."),
    "gates": ("judge", "Plan what a gate can prove at a given traffic."),
    "graph": ("graph", "The dependency graph of recorded traces."),
    "host": ("host", "Run services as local processes behind weighted routers."),
    "install": ("install", "Put the worker into a Kubernetes cluster, with its rights."),
    "intake": ("intake", "Receive OTLP and write it to Kafka, for those without a Collector."),
    "judge": ("judge", "Judge recorded traces of a stable and a candidate version."),
    "leases": ("leases", "Honour the leases of targets on Kubernetes, without Kafka."),
    "plan": ("plan", "What would happen if this artifact were pushed now."),
    "replay": ("replay", "Derive the decisions again and compare."),
    "rollout": ("rollouts", "Why one rollout is where it is."),
    "rollouts": ("rollouts", "List rollouts."),
    "simulate": ("simulate", "Run simulated systems against the invariants."),
    "topics": ("topics", "Compare and create the topics."),
    "worker": ("worker", "Run the stream processor."),
}
"""Command name → (module under `ctrlplane_stream.commands`, one line of help)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"ctrlplane_stream.commands.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, and a command that is none is answered with those that look alike."""
        near = get_close_matches(args[0], COMMANDS) if args and args[0] not in COMMANDS and not args[0].startswith("-") else []
        if near:
            raise click.UsageError(f"no such command {args[0]!r}; did you mean {' or '.join(near)}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the map: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CTRLPLANE"})
@click.version_option(package_name="ctrlplane-stream", allow_from_autoenv=False)  # CTRLPLANE_VERSION is a version of somebody's service
def main(**_: Any) -> None:
    """Roll out releases by what their traces say.

    Settings have a variable each (docs/settings.md). Any other option can be given as one too, by command and name:
    CTRLPLANE_HOST_PORT is `host --port`, CTRLPLANE_ARTIFACT_PUSH_SERVICE is `artifact push --service`. A flag wins.
    """
    # Where no logs are set up, a library's warnings would go to standard error beside the one line that says what is wrong.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
