"""What the documents tell people to type is what the program understands: each command line is read as click would."""

import re
import shlex
from pathlib import Path

import click
import pytest

from ctrlplane_stream.cli import COMMANDS, main

_ROOT = Path(__file__).parents[3]
_DOCUMENTS = sorted([_ROOT / "README.md", *(_ROOT / "docs").rglob("*.md"), *(_ROOT / "examples").rglob("*.md")])
_PROGRAM = "ctrlplane-stream"


def lines_of(text: str) -> list[str]:
    """Commands of the program in code blocks and code spans; a span that names options may leave the program's name out."""
    block = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    typed = [re.sub(r"\s#.*", "", line) for found in block.findall(text) for line in found.splitlines()]
    parts = [part.strip().removeprefix("$ ") for line in typed for part in re.split(r"&&|\|", line)]
    spans = [re.sub(r"\s+", " ", span) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", block.sub("", text))]
    short = [f"{_PROGRAM} {span}" for span in spans if span.split(" ")[0] in COMMANDS and " --" in span]
    return [line for line in (*parts, *spans, *short) if line.startswith(f"{_PROGRAM} ")]


LINES = sorted({(str(path.relative_to(_ROOT)), line) for path in _DOCUMENTS for line in lines_of(path.read_text())})


@pytest.mark.parametrize(("document", "line"), LINES)
def test_a_command_of_the_documents_can_be_typed(document: str, line: str) -> None:
    """The command is there and takes these options; what it must have is not missing."""
    words = shlex.split(re.sub(r"[\[\]]", "", line).replace("…", "x"))[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no {words[0]}"
        command, words = found, words[1:]
    wrong = _wrong(command, words)
    assert wrong is None or _only_named(wrong, words, line), wrong.format_message()


def _wrong(command: click.Command, words: list[str]) -> click.UsageError | None:
    """What click says against the line; nothing of values that it cannot have, which are placeholders, or files of the reader's."""
    try:
        command.make_context("documented", words.copy())
    except click.UsageError as error:
        is_value = isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)
        return None if is_value else error
    return None


def _only_named(wrong: click.UsageError, words: list[str], line: str) -> bool:
    """Whether the line names a command or an option in prose, or says by dots that something is left out."""
    if isinstance(wrong, click.BadOptionUsage):
        return words[-1].startswith("--")
    named = not words or (isinstance(wrong, click.MissingParameter) and isinstance(wrong.param, click.Argument))
    return isinstance(wrong, click.MissingParameter) and (named or line.endswith(" …"))


def test_there_is_something_to_read() -> None:
    """The documents name most of the commands."""
    assert len({line.split()[1] for _, line in LINES}) > 12
