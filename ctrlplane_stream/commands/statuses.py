"""How each command ends: declared beside it, said by its help and by docs/commands.md, and held to when it ends.

One rule for all: 0 is done or as it should be; 1 is refused, failed, or nothing there to be done, with the reason; 2 is called in a wrong
way; 3 is done or looked at, and not as it should be, or not answered. What a command says beyond that stands in its own declaration.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import click

Command = Callable[..., Any]

DONE, FAILED, MISUSED, DIFFERENT = 0, 1, 2, 3

RULE: Mapping[int, str] = {
    DONE: "done, or as it should be",
    FAILED: "refused, failed, or nothing there to be done: the last line of standard error says why and what to do",
    MISUSED: "called in a wrong way",
    DIFFERENT: "not as it should be, or not answered",
}
"""What a status means wherever a command declares nothing else of it."""

_WIDTH = 76


def ends(declared: Mapping[int, str]) -> Callable[[Command], Command]:
    """Declare how a command ends (status to words), which its help then says; the innermost decorator of a command.

    1 and 2 are of every command and need no mention where RULE says it all.
    """
    told = {DONE: RULE[DONE], FAILED: RULE[FAILED], MISUSED: RULE[MISUSED], **declared}

    def decorate(command: Command) -> Command:
        command.statuses = told  # type: ignore[attr-defined]
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{_paragraph(declared)}"
        return command

    return decorate


def statuses_of(command: click.Command) -> Mapping[int, str]:
    """Every status that the command may end with, in words; empty where it declares none."""
    found: Mapping[int, str] = getattr(command.callback, "statuses", {})
    return dict(sorted(found.items()))


def end(status: int) -> NoReturn:
    """End the command that runs with a status that it declares; one that it does not is a programming error."""
    declared = statuses_of(click.get_current_context().command)
    assert status in declared, f"status {status} is declared nowhere"
    sys.exit(status)


def _paragraph(declared: Mapping[int, str]) -> str:
    lines = [
        line
        for status, words in sorted(declared.items())
        for line in textwrap.wrap(words, _WIDTH, initial_indent=f"{status:>4}  ", subsequent_indent=" " * 6, break_on_hyphens=False)
    ]
    return "\n".join(["\b", "Exit status:", *lines])
