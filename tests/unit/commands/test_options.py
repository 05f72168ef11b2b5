"""Settings as flags: one definition, three ways to say it."""

import asyncio
import json

import click
import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError
from click.testing import CliRunner, Result

from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import BROKER_TROUBLE, broker_failed, on_one_line, takes_json, takes_settings
from ctrlplane_stream.settings import SETTINGS, Settings


@click.command(cls=Command)
@takes_settings("")
@takes_json
def show(settings: Settings, as_json: bool) -> None:
    """Print the settings that arrived."""
    click.echo(json.dumps({**settings.shown(), "as_json": as_json}))


def _run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(show, arguments, env={s.variable: "" for s in SETTINGS} | environ)


def test_a_flag_wins_over_its_variable_and_both_over_the_default() -> None:
    """And a flag that is not given changes nothing."""
    shown = json.loads(_run("--partitions", "3", "--json", CTRLPLANE_PARTITIONS="5", CTRLPLANE_TOPIC_PREFIX="a-").stdout)
    assert (shown["partitions"], shown["topic_prefix"], shown["as_json"]) == (3, "a-", True)


@pytest.mark.parametrize(
    ("arguments", "value"), [((), True), (("--no-kafka-ssl-check-hostname",), False), (("--kafka-ssl-check-hostname",), True)]
)
def test_a_switch_can_be_turned_both_ways(arguments: tuple[str, ...], value: bool) -> None:
    """On, off, or as the environment says."""
    assert json.loads(_run(*arguments).stdout)["kafka_ssl_check_hostname"] is value


def test_a_value_that_cannot_be_is_a_usage_error_that_names_where_it_came_from() -> None:
    """Status 2 and one line: the option that was typed, or the variable that was set."""
    for refused, named in ((_run("--partitions", "none"), "--partitions"), (_run(CTRLPLANE_PARTITIONS="none"), "CTRLPLANE_PARTITIONS")):
        assert refused.exit_code == 2
        assert f"Error: {named}: " in refused.stderr


def test_no_secret_can_be_given_as_a_flag() -> None:
    """Process lists show flags; the help does not even offer them."""
    text = _run("--help").stdout
    flags = {f"--{s.name.replace('_', '-')}" for s in SETTINGS if s.secret}
    assert flags
    assert not any(flag in text.split() for flag in flags)


def test_flags_for_settings_stand_below_those_of_the_command_with_what_they_take() -> None:
    """Whoever reads the help of a command finds its own options first; a number, a path and a choice look like one."""
    text = _run("--help").stdout
    own, settings = text.index("\nOptions:"), text.index("\nSettings (docs/settings.md says more):")
    assert own < text.index("--json") < settings
    for flag in (
        "--partitions N",
        "--kafka-ssl-cafile PATH",
        "--host-url URL",
        "--log-format [json|text]",
        "--kafka-bootstrap-servers TEXT",
    ):
        assert settings < text.index(flag)


@pytest.mark.parametrize(
    "error", [KafkaConnectionError(), KafkaTimeoutError(), NodeNotReadyError(), ConnectionRefusedError(), asyncio.CancelledError()]
)
def test_a_broker_that_goes_away_is_said_in_one_line_however_the_client_puts_it(error: BaseException) -> None:
    """Before, while or after it is read: an expected trouble, with what to do."""
    assert isinstance(error, BROKER_TROUBLE)
    with pytest.raises(click.ClickException, match="no broker answers at kafka:9092: see that it runs"):
        broker_failed(Settings(kafka_bootstrap_servers="kafka:9092"), error)


def test_what_others_said_is_one_line_of_a_terminal() -> None:
    """A judge from outside, or a writer of dead letters, can neither move the cursor nor fill the screen."""
    assert on_one_line("fünf Prozent mehr, ☃") == "fünf Prozent mehr, ☃"
    assert on_one_line("fine\n\x1b[2Jgates: PASS") == "fine\ufffd\ufffd[2Jgates: PASS"
    assert on_one_line("x" * 500_000).endswith("x… (500000 characters; --json has all)")
