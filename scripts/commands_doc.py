"""Writes `docs/commands.md` from the commands themselves: what each does, and how it ends.

`--check` writes nothing and fails where the page is not what the code says.
"""

import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import click
from in_step import keep_in_step

from ctrlplane_stream.cli import main as program
from ctrlplane_stream.commands.statuses import DIFFERENT, DONE, FAILED, RULE, statuses_of
from ctrlplane_stream.commands.verbs import MEANINGS, SCOPES
from ctrlplane_stream.decision.overrides import OVERRIDES_KEPT

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"

HEAD = """\
# Commands

Generated from the commands by `python scripts/commands_doc.py`. The `--help` of each has its options;
[operations.md](operations.md#what-to-type-when) says which to type when, [settings.md](settings.md) what each setting is.

## How they end

One rule for all. A call that can be seen to be wrong without asking anybody ends with 2, whatever the command, before anything
is asked or written:

| exit status | |
|---|---|
"""

COMMANDS = """
Where a command says more than the rule, or something else, it stands here (an empty cell: the rule, or it never ends so). A command
cannot end with a status that it has not declared.

| command | what | 0 | 1 | 3 | others |
|---|---|---|---|---|---|
"""

VERBS = f"""
## The verbs of `control`

Each has options of its own, which its help has (`control pause -h`). On a rollout that has ended pause, resume,
promote, abort, force and skip change nothing, say so in the same words, and end with 1. The same verb of the same scope and
`--id` twice is one override: the second ends as the first did. An environment remembers the last {OVERRIDES_KEPT} of its
overrides: one that is said again after so many others is a new one, and is carried out again.

| verb | said of | what |
|---|---|---|
"""

JSON = """
## `--json`

Standard output is then one JSON document whatever happens: what the command has to tell, or, where it failed before it had anything
to tell, `{"error": "why, and what to do", "status": 1}`, with the exit status. The words for people are on standard error besides.
`control`, `artifact push` and `catalog apply` tell `error` (null where all is well) and `status` beside the engine's `answers`, of which
each is `refused` (it could not be done), `idle` (there was nothing to do it with), or neither. A catalog's mistakes, the changes that
`topics apply` refused, and the report of a demo that did not keep its promises stand in what those commands print anyway.

Steps count from 1 wherever they are told: in words, and in the demo's report (`unproven_steps`). A rollout as the engine keeps it
(`rollouts --json`, `rollout --json`, Redis) counts from 0: its `step` is the place in its list `steps`. Both `unproven` there and
`unproven_steps` count on through all waves, each of which has a number for every step (a wave of jobs alone takes the last one only); the
bake is one more than the last step.
"""


def page() -> str:
    """The whole page."""
    rule = "".join(f"| {status} | {said} |\n" for status, said in RULE.items())
    rows = "".join(_row(" ".join(path), help_, of) for path, help_, of in _rows())
    verbs = "".join(f"| `{verb}` | `{m.scope}` | {m.line} {m.more} |\n" for verb, m in MEANINGS.items())
    scopes = "\n" + "\n".join(f"- {said}" for said in SCOPES.values()) + "\n"
    return HEAD + rule + COMMANDS + rows + JSON + VERBS + verbs + scopes


def _rows() -> Iterator[tuple[tuple[str, ...], str, Mapping[int, str]]]:
    """Every command; those of a group that all end alike in one row."""
    for group, found in groupby(_leaves(program), key=lambda leaf: leaf[0][:-1]):
        leaves = list(found)
        if group and len(leaves) > 1 and all(statuses_of(c) == statuses_of(leaves[0][1]) for _, c in leaves):
            parent = program.get_command(click.Context(program), group[0])
            assert parent is not None
            yield (*group, "VERB"), parent.get_short_help_str(200), statuses_of(leaves[0][1])
        else:
            yield from ((path, command.get_short_help_str(200), statuses_of(command)) for path, command in leaves)


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _leaves(found, (*path, name))


def _row(path: str, what: str, ends: Mapping[int, str]) -> str:
    told = {status: said for status, said in ends.items() if RULE.get(status) != said}
    others = "; ".join(f"{status}: {said}" for status, said in told.items() if status not in (DONE, FAILED, DIFFERENT))
    return f"| `{path}` | {what} | {told.get(DONE, '')} | {told.get(FAILED, '')} | {told.get(DIFFERENT, '')} | {others} |\n"


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "the commands", sys.argv[1:]))
