"""The command line: a map from names to the modules that hold them, loaded only when called.

Loading lazily keeps `--help` and each worker role fast: the columnar libraries and the Kubernetes client take longer
to import than most commands take to run.
"""

import logging
from importlib import import_module
from typing import Any

import click

from ctrlplane_stream.commands.groups import Group

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "To try it, and on recorded traces": {
        "demo": ("demo", "Run the whole loop on this machine and play it through."),
        "graph": ("graph", "Which services call which, in recorded traces or live."),
        "judge": ("judge", "Judge recorded traces of a stable and a candidate version."),
        "gates": ("gates", "Plan what a gate can prove at a given traffic."),
    },
    "Releases": {
        "catalog": ("catalog", "Show, compare and apply the catalog."),
        "plan": ("plan", "What would happen if this artifact were pushed now."),
        "artifact": ("artifact", "Offer an artifact to the engine."),
        "rollouts": ("rollouts", "List rollouts."),
        "rollout": ("rollouts", "Why one rollout is where it is."),
        "control": ("control", "Overrule the engine: pause, resume, promote, abort …"),
        "advice": ("advice", "What we would do with a rollout that another tool makes."),
    },
    "Running it": {
        "topics": ("topics", "Compare the broker's topics with what is needed, and create them."),
        "worker": ("worker", "Run the stream processor."),
        "intake": ("intake", "Receive OTLP and write it to Kafka, for those without a Collector."),
        "install": ("install", "Put the worker into a Kubernetes cluster, with its rights."),
        "leases": ("leases", "On Kubernetes, move to stable what no engine looks after any more."),
        "host": ("host", "Run services as local processes behind weighted routers."),
        "doctor": ("doctor", "Check broker, topics, clocks, lag and settings."),
    },
    "When something went wrong": {
        "break-glass": ("break_glass", "Move a service to stable on the spot, without Kafka."),
        "dead-letters": ("dead_letters", "List and replay what could not be read."),
        "replay": ("replay", "Derive past decisions again, or under another policy."),
        "simulate": ("simulate", "Run simulated systems against the invariants."),
    },
}
"""Heading → command name → (module under `ctrlplane_stream.commands`, one line of help)."""

COMMANDS = {name: row for section in SECTIONS.values() for name, row in section.items()}
"""The same without headings."""

_TYPED = "ctrlplane_stream.typed"


class LazyGroup(Group):
    """A group whose commands are imported when they are asked for, and whose failures are told in JSON where that was asked for."""

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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, and what was typed is kept."""
        ctx.meta[_TYPED] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it; whatever fails below, also while it is read, has been told in JSON where that was asked for."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            from ctrlplane_stream.commands.options import tell_in_json  # every command has it by now, and --help alone needs none of it

            tell_in_json(error, ctx.meta[_TYPED])
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lists of commands, from the map: nothing is imported for it."""
        width = max(map(len, COMMANDS))
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, (_, text) in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CTRLPLANE"})
@click.version_option(package_name="ctrlplane-stream", allow_from_autoenv=False)  # CTRLPLANE_VERSION is a version of somebody's service
def main(**_: Any) -> None:
    """Roll out releases by what their traces say.

    An artifact (a container image by its digest) is pushed; the engine makes a version of its service from it, and a rollout moves that
    up in steps, beside the stable one, while gates judge by the traces of the services that it can hurt. The catalog says which services
    and environments there are. `ctrlplane-stream demo` shows all of it; docs/commands.md tells how commands end.

    Settings have a variable each (docs/settings.md). Any other option can be given as one too, by command and name:
    CTRLPLANE_HOST_PORT is `host --port`, CTRLPLANE_ARTIFACT_PUSH_SERVICE is `artifact push --service`. A flag wins.
    """
    # Where no logs are set up, a library's warnings would go to standard error beside the one line that says what is wrong.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
