"""The check of ``doctor`` for variables that nobody reads: a misspelt one is silent, and its setting stays at the default."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

import click

from ctrlplane_stream.commands.findings import Finding, note
from ctrlplane_stream.settings import SETTINGS

_PREFIX = "CTRLPLANE"
_GIVEN_TO_VERSIONS = frozenset({"CTRLPLANE_VERSION", "CTRLPLANE_POD", "CTRLPLANE_STANDBY", "CTRLPLANE_ROUTES"})
"""What actuators give the versions that they start, in whose environment a command may be run."""


def check_variables(environ: Mapping[str, str], program: click.Command) -> list[Finding]:
    """A note for each variable of ours that is neither a setting nor an option of ``program``, with the name that is nearest."""
    settings = {s.variable for s in SETTINGS}
    strange = sorted(name for name in environ if name.startswith(f"{_PREFIX}_") and name not in settings | _GIVEN_TO_VERSIONS)
    options = set(_option_variables(program, _PREFIX, strange))
    return [_finding(name, settings | options) for name in strange if name not in options]


def _finding(name: str, known: Collection[str]) -> Finding:
    near = get_close_matches(name, sorted(known), n=1)
    return note("settings", f"nobody reads {name}", f"did you mean {near[0]}?" if near else "docs/settings.md has every variable")


def _option_variables(command: click.Command, prefix: str, asked: Collection[str]) -> Iterator[str]:
    """The variables that click makes of options, by command and name; only commands that are asked for are imported."""
    yield from (f"{prefix}_{p.name.upper()}" for p in command.params if isinstance(p, click.Option) and p.name)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = f"{prefix}_{name.upper().replace('-', '_')}"
            found = command.get_command(context, name) if any(a.startswith(below) for a in asked) else None
            if found is not None:
                yield from _option_variables(found, below, asked)
