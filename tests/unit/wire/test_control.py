"""Reading what operators say."""

import json

from ctrlplane_stream.model.facts import OverrideRequested, OverrideVerb
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import ControlEvent, OverrideData, read_control, write_control

DATA = OverrideData(verb=OverrideVerb.ABORT, environment="production", who="ops", why="errors in the till", rollout="live/shop-cart/4")


def test_what_was_written_is_read_again() -> None:
    """An override survives the topic, and its event's id becomes its own."""
    override = OverrideRequested(id="o-1", verb=OverrideVerb.ABORT, who="ops", why="errors in the till", rollout="live/shop-cart/4")
    assert read_control(write_control("o-1", "cli", DATA)) == ControlEvent("production", override)


def test_an_override_without_who_or_why_is_refused() -> None:
    """Nobody overrules without a name and a reason."""
    for field in ("who", "why", "environment"):
        event = json.loads(write_control("o-1", "cli", DATA))
        event["data"][field] = ""
        found = read_control(json.dumps(event).encode())
        assert isinstance(found, Unreadable)
        assert "must not be empty" in found.reason


def test_a_misspelt_field_is_refused_and_not_ignored() -> None:
    """`unsave: true` must not quietly mean "safe"."""
    event = json.loads(write_control("o-1", "cli", DATA))
    event["data"]["unsave"] = True
    found = read_control(json.dumps(event).encode())
    assert isinstance(found, Unreadable)
    assert "unsave" in found.reason


def test_an_unknown_verb_is_refused_by_name() -> None:
    """The reason names the verb that nobody knows."""
    event = json.loads(write_control("o-1", "cli", DATA))
    event["data"]["verb"] = "explode"
    found = read_control(json.dumps(event).encode())
    assert isinstance(found, Unreadable)
    assert "explode" in found.reason
