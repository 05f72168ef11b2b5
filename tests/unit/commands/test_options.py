"""Settings as flags: one definition, three ways to say it."""

import json

import click
import pytest
from click.testing import CliRunner, Result

from ctrlplane_stream.commands.options import takes_json, takes_settings
from ctrlplane_stream.settings import SETTINGS, Settings


@click.command()
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


def test_a_value_that_cannot_be_is_a_usage_error_that_names_the_variable() -> None:
    """Status 2 and one line, whichever way it came in."""
    for refused in (_run("--partitions", "none"), _run(CTRLPLANE_PARTITIONS="none")):
        assert refused.exit_code == 2
        assert "CTRLPLANE_PARTITIONS: " in refused.stderr


def test_no_secret_can_be_given_as_a_flag() -> None:
    """Process lists show flags; the help does not even offer them."""
    text = _run("--help").stdout
    flags = {f"--{s.name.replace('_', '-')}" for s in SETTINGS if s.secret}
    assert flags
    assert not any(flag in text.split() for flag in flags)
