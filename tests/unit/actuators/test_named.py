"""Actuators by name, ours and those of other packages."""

import sys

import pytest
from click.testing import CliRunner

from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.actuators.named import UnknownActuator, actuator_named, known_actuators
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.cli import main
from ctrlplane_stream.settings import Settings

_PLUGIN = """
from ctrlplane_stream.actuators.dry_run import DryRun

class Tape(DryRun):
    name = "tape"

def make(settings):
    return Tape()
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package that brings an actuator called "tape"."""
    (tmp_path / "tape_actuator.py").write_text(_PLUGIN)
    info = tmp_path / "tape-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tape\nVersion: 1.0\n")
    points = ("tape = tape_actuator:make", "dry-run = tape_actuator:make", "gone = tape_actuator:nope", "raises = tape_actuator:Tape")
    (info / "entry_points.txt").write_text("\n".join(["[ctrlplane_stream.actuators]", *points, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("tape_actuator", None)


def test_ours_are_made_from_settings():
    assert isinstance(actuator_named("dry-run", Settings()), DryRun)
    assert isinstance(actuator_named("process", Settings()), ProcessHost)


def test_another_packages_actuator_is_found_by_its_entry_point(plugin):
    assert actuator_named("tape", Settings()).name == "tape"
    assert {"dry-run", "process", "tape"} <= set(known_actuators())


def test_a_plugin_cannot_take_a_name_of_ours(plugin):
    assert actuator_named("dry-run", Settings()).name == "dry-run"


@pytest.mark.parametrize("name", ["gone", "raises"])
def test_a_plugin_that_cannot_be_made_is_told_like_one_that_is_not_there(plugin, name):
    """Whatever it raises: a worker goes on with the targets of others."""
    with pytest.raises(UnknownActuator, match=f"the actuator '{name}' .* cannot be made: .*; mend the package"):
        actuator_named(name, Settings())


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(UnknownActuator, match=r"no actuator is called 'tap': there are dry-run, .*process"):
        actuator_named("tap", Settings())


@pytest.mark.parametrize(("name", "status"), [("raises", 1), ("tap", 2)])
def test_breaking_glass_fails_where_an_actuator_cannot_be_made_and_is_misused_where_there_is_none(plugin, name, status):
    told = CliRunner().invoke(main, ["break-glass", "show", "production:shop/cart", "--actuator", name])
    assert told.exit_code == status
    assert ("mend the package" if status == 1 else "there are dry-run") in told.output
