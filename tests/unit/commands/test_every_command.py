"""What every command has in common, so that nobody has to look it up: help, `--json`, and one line for what is wrong."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ctrlplane_stream.cli import COMMANDS, main
from ctrlplane_stream.commands import statuses
from ctrlplane_stream.commands.control import _OPTIONS
from ctrlplane_stream.commands.statuses import statuses_of
from ctrlplane_stream.commands.verbs import MEANINGS
from ctrlplane_stream.local.processes import free_port
from ctrlplane_stream.model.facts import OverrideVerb

_ENDLESS = frozenset({"leases"})
"""Has nothing to print: it watches until it is stopped."""


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _leaves(found, (*path, name))
    else:
        yield path, command


_EXAMPLE = Path(__file__).parents[3] / "examples" / "catalog.yaml"
_ARTIFACT = f"registry.example/shop/cart@sha256:{'ab' * 32}"
LEAVES = dict(_leaves(main))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_says_what_it_does_and_each_of_its_options_too(path: tuple[str, ...]) -> None:
    """Status 0; a sentence for the command and one for every option."""
    shown = CliRunner().invoke(main, [*path, "--help"])
    assert shown.exit_code == 0
    assert LEAVES[path].help
    silent = [o.name for o in LEAVES[path].params if isinstance(o, click.Option) and not o.help and not o.hidden]
    assert not silent


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_can_be_read_by_a_program(path: tuple[str, ...]) -> None:
    """`--json`, whatever it prints."""
    flags = {flag for o in LEAVES[path].params if isinstance(o, click.Option) for flag in o.opts}
    assert "--json" in flags or path[0] in _ENDLESS


def test_the_help_of_control_says_what_each_verb_does() -> None:
    """A line each, of those that there are."""
    assert list(MEANINGS) == list(OverrideVerb)
    lines = [line.strip() for line in CliRunner().invoke(main, ["control", "--help"]).stdout.splitlines()]
    assert [verb for verb in OverrideVerb if f"{verb:<8}  {MEANINGS[verb].line}" not in lines] == []


@pytest.mark.parametrize("verb", OverrideVerb)
def test_the_help_of_a_verb_has_its_own_options_and_no_others(verb: OverrideVerb) -> None:
    """Besides who, why, an id, how long to wait, and how to reach the broker; and what it is said of."""
    options = {flag for option in LEAVES["control", str(verb)].params for flag in option.opts if flag.startswith("--")}
    special = {option for meaning in MEANINGS.values() for option in meaning.options}
    assert options & special == set(MEANINGS[verb].options)
    assert {"--why", "--who", "--id", "--wait", "--json"} <= options
    shown = " ".join(CliRunner().invoke(main, ["control", str(verb), "--help"]).stdout.split())
    for said in (MEANINGS[verb].line, f"[OPTIONS] {MEANINGS[verb].scope}"):
        assert said in shown


def test_every_option_of_the_verbs_is_taken_by_one() -> None:
    """And no verb asks for one that there is not."""
    assert {option for meaning in MEANINGS.values() for option in meaning.options} == set(_OPTIONS)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_command_says_how_it_ends(path: tuple[str, ...]) -> None:
    """Each status in words, in its help too; what is not declared it cannot end with."""
    declared = statuses_of(LEAVES[path])
    assert {0, 1, 2} <= set(declared)
    assert all(declared.values())
    assert "Exit status:\n     0  " in CliRunner().invoke(main, [*path, "--help"]).stdout


def test_no_command_ends_with_a_status_that_it_does_not_declare() -> None:
    """One function ends them all, and it refuses; nothing goes around it but what fails, with 1 or 2."""
    commands = Path(statuses.__file__).parent
    ways = re.compile(r"sys\.exit\(|\.exit\(|SystemExit|exit_code = ")
    found = {path.name: len(ways.findall(path.read_text())) for path in commands.glob("*.py") if ways.search(path.read_text())}
    assert found == {"statuses.py": 1, "advice.py": 2}, "advice says what it has for failures in its own declaration"

    @click.command()
    @statuses.ends({0: "done"})
    def odd() -> None:
        """End oddly."""
        statuses.end(3)

    assert isinstance(CliRunner().invoke(odd).exception, AssertionError)


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        ("rollouts lab --json", "no broker is named", 1),
        ("control pause lab --why x --json", "no broker is named", 1),
        ("rolouts --json", "did you mean rollouts", 2),
        ("control freez lab --json", "did you mean freeze", 2),
        ("rollouts --json", "Missing argument 'ENVIRONMENT'", 2),
        ("simulate --seeds x --json", "'x' is no whole number", 2),
        ("graph --json", "name a recording", 2),
        ("advice lab --json", "names no service", 2),
        ("topics plan --json --partitions x", "--partitions: 'x' cannot be", 2),
    ],
)
def test_a_failure_is_told_in_json_where_json_was_asked_for(words: str, said: str, status: int) -> None:
    """One document with the reason and the status that it ends with; the words for people are on standard error besides."""
    failed = CliRunner().invoke(main, words.split(), env={"KAFKA_BOOTSTRAP_SERVERS": ""})
    told = json.loads(failed.stdout)
    assert (failed.exit_code, told["status"], sorted(told)) == (status, status, ["error", "status"])
    assert said in told["error"]
    assert said in failed.stderr


def test_a_failure_is_told_in_json_also_where_a_variable_asks_for_it() -> None:
    """As any option can be given."""
    failed = CliRunner().invoke(main, ["rollouts", "lab"], env={"KAFKA_BOOTSTRAP_SERVERS": "", "CTRLPLANE_ROLLOUTS_AS_JSON": "1"})
    assert json.loads(failed.stdout)["status"] == 1


def test_what_told_in_json_what_is_wrong_tells_it_once(tmp_path: Path) -> None:
    """Standard output is one document: the mistakes of a catalog are in it already."""
    wrong = tmp_path / "catalog.yaml"
    wrong.write_text("environments: {}\n")
    failed = CliRunner().invoke(main, ["catalog", "check", str(wrong), "--json"])
    assert (failed.exit_code, json.loads(failed.stdout)["valid"]) == (1, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("freeze lab/shop-cart/1 --why x", "freeze takes ENVIRONMENT or ENVIRONMENT:SERVICE"),
        ("unfreeze lab/shop-cart/1 --why x", "and not a rollout"),
        ("pin lab --why x", "pin takes ENVIRONMENT:SERVICE"),
        ("pause lab --why x --for 5", "--for means nothing to pause; it is for freeze"),
        ("pin lab:shop/cart --why x --unsafe", "--unsafe means nothing to pin; it is for abort, force"),
        ("pin lab:shop/cart --why x --nonsense", "No such option: --nonsense"),
        ("adopt lab:shop/cart --why x", "Missing option '--artifact'"),
        ("abort lab --why x --fact-offset 0", "--fact-offset means nothing to abort; it is for skip"),
        ("promote lab --why x --version #1", "it is for pin, retry, revert"),
        ("revert lab:shop/cart --why x --version 3", "did you mean --version '#3'"),
        ("pause lab --why x --artifact a@b", "--artifact means nothing to pause; it is for adopt"),
        ("adopt lab --why x --artifact a@b", "adopt takes ENVIRONMENT:SERVICE"),
        ("adopt lab:shop/cart --why x --artifact registry.example/cart:latest", "adopt needs --artifact IMAGE@sha256:"),
        ("abort : --why x", "is no ENVIRONMENT, ENVIRONMENT:SERVICE or ROLLOUT"),
        ("abort lab: --why x", "is no ENVIRONMENT, ENVIRONMENT:SERVICE or ROLLOUT"),
        ("abrot lab --why x", "did you mean abort"),
    ],
)
def test_control_writes_nothing_that_would_be_refused_or_taken_for_something_else(words: str, said: str) -> None:
    """A usage error before a broker is needed: a rollout does not freeze its whole environment."""
    refused = CliRunner().invoke(main, ["control", *words.split()], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


def test_control_wants_a_reason_that_says_something() -> None:
    """An empty one would be a dead letter."""
    refused = CliRunner().invoke(main, ["control", "abort", "lab", "--why", " "], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert (refused.exit_code, "--why must say why" in refused.stderr) == (2, True)


def test_the_list_of_commands_is_whole_and_in_order() -> None:
    """`ctrlplane-stream` alone shows them all, each with a line."""
    text = CliRunner().invoke(main, ["--help"]).stdout
    assert [name for name in sorted(COMMANDS) if name not in text] == []
    groups = [name for name in COMMANDS if isinstance(main.get_command(click.Context(main), name), click.Group)]
    lists = [CliRunner().invoke(main, words).stdout for words in (["--help"], *([name, "--help"] for name in groups))]
    assert len(lists) > 4
    broken = [line for shown in lists for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage")]
    assert broken == []


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_wrong_call_ends_with_2_whatever_the_command(path: tuple[str, ...]) -> None:
    """An option that is none, and each that takes no text with a text; advice had a word of advice for that once."""
    typed = [
        o for o in LEAVES[path].params if isinstance(o, click.Option) and not o.is_flag and o.type not in (click.STRING, click.UNPROCESSED)
    ]
    wrong = [("--no-such-option",), *((o.opts[0], *["/no such place"] * o.nargs) for o in typed if not _takes_a_new_file(o))]
    for words in wrong:
        refused = CliRunner().invoke(main, [*path, *words], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
        assert (refused.exit_code, words[0] in refused.stderr) == (2, True), refused.stderr


def _takes_a_new_file(option: click.Option) -> bool:
    """Whether any text may be the name of what it will write."""
    return isinstance(option.type, click.Path) and not option.type.exists


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    """Status 2, and what was meant."""
    refused = CliRunner().invoke(main, ["rolouts"])
    assert refused.exit_code == 2
    assert "did you mean rollouts or rollout?" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plan foo --environment lab", "foo names no digest"),
        ("plan registry.example/cart@sha256:1 --environment lab", "is not sha256: and 64 hexadecimal digits"),
        ("artifact push foo", "foo names no digest"),
        (f"artifact push {_ARTIFACT} --environment {'x' * 300}", "must have 1 to 255 characters"),
        ("advice lab", "lab names no service"),
        ("rollout foo", "is no rollout's id"),
        ("break-glass show foo", "is no target"),
        ("break-glass abort lab:shop/cart --actuator nope", "no actuator is called 'nope'"),
        ("dead-letters list --reason (", "is not a regular expression"),
        ("dead-letters replay", "say which"),
        ("install", "say which image the Pods run"),
        ("topics apply --partitions abc", "--partitions: 'abc' cannot be"),
    ],
)
def test_what_is_named_in_a_wrong_way_is_refused_before_a_broker_is_asked(words: str, said: str) -> None:
    """A usage error as any other: where no broker answers that was all there was to read."""
    refused = CliRunner().invoke(main, words.split(), env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize(
    "words",
    ["simulate --seeds 5..2", "host --port 99999", "intake --http-port 70000", "host --full 0", "demo --report /nonexistent/report"],
)
def test_a_number_or_place_that_cannot_be_is_refused_before_anything_starts(words: str) -> None:
    """No run of no seeds, no port modulo 65536, no report that has nowhere to go after minutes."""
    assert CliRunner().invoke(main, words.split()).exit_code == 2


def test_the_label_that_actuators_give_a_version_is_no_option() -> None:
    """CTRLPLANE_VERSION stands in the environment of every version that we start; a command run there works as anywhere."""
    shown = CliRunner().invoke(main, ["simulate", "--seeds", "1..1"], env={"CTRLPLANE_VERSION": "#7"})
    assert shown.exit_code == 0, shown.output


def test_any_option_can_be_given_as_a_variable_and_a_flag_wins(tmp_path: Path) -> None:
    """By command and name, without a list that could be out of step."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text("environments: {}\nservices: {}\n")
    told = {"CTRLPLANE_CATALOG_CHECK_AS_JSON": "1"}
    assert CliRunner().invoke(main, ["catalog", "check", str(catalog)], env=told).stdout.startswith("{")
    refused = {"CTRLPLANE_SIMULATE_SEEDS": "nonsense"}
    assert "'nonsense' is no whole number, and not A..B" in CliRunner().invoke(main, ["simulate"], env=refused).stderr
    assert CliRunner().invoke(main, ["simulate", "--seeds", "7"], env=refused).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        "advice lab:shop/cart", f"artifact push {_ARTIFACT}", f"catalog apply {_EXAMPLE}", f"catalog diff {_EXAMPLE}",
        "control pause lab --why x", "catalog show",
        "dead-letters list", "dead-letters replay --all", "graph --live lab", "intake --http-port 0 --grpc-port 0",
        f"plan {_ARTIFACT} --environment lab", "replay", "rollout lab/shop-cart/1", "rollouts lab", "topics apply", "topics plan",
    ],
)  # fmt: skip
def test_a_broker_that_does_not_answer_is_said_in_one_line(words: str) -> None:
    """In a process of its own, where everything would show: status 1 (advice: 3), the address, and nothing of any library."""
    environ = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    command = [sys.executable, "-m", "ctrlplane_stream", *words.split()]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3 if words.startswith("advice") else 1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert environ["KAFKA_BOOTSTRAP_SERVERS"] in done.stderr


@pytest.mark.parametrize("call", [("catalog", "check"), ("catalog", "diff"), ("replay", "--policy")])
def test_a_file_that_is_not_utf_8_is_refused_in_words(call: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "written-elsewhere.yaml"
    file.write_bytes("# für alle\n".encode("latin-1"))
    shown = CliRunner().invoke(main, [*call, str(file)], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert (shown.exit_code, shown.exception) != (0, None)
    assert "written-elsewhere.yaml is not UTF-8 at byte 3: save it as UTF-8" in shown.stderr


@pytest.mark.parametrize("role", ["all", "engine"])
def test_a_port_for_metrics_that_is_taken_is_named_with_its_setting(role: str) -> None:
    """Of every role: one that could not begin for that would be started again without end."""
    first = free_port()  # of those that the kernel gives to nobody: the ports of roles follow each other
    port = first + 1 if role == "all" else first
    with socket.create_server(("127.0.0.1", port)):
        around = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "CTRLPLANE_METRICS_PORT": str(first)}
        command = [sys.executable, "-m", "ctrlplane_stream", "worker", "--role", role]
        shown = subprocess.run(command, env={**os.environ, **around}, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 1
    assert f"port {port} cannot be had for metrics" in shown.stderr
    assert "set CTRLPLANE_METRICS_PORT to another, or to 0 for none" in shown.stderr
