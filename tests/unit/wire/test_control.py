"""Reading what operators say."""

import json

import pytest

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


def test_what_is_to_be_adopted_is_named_by_its_digest() -> None:
    """A tag may mean something else tomorrow, and a digest without its image names nothing that the catalog could allow."""
    digest = f"sha256:{1:064x}"
    for image, named in (("registry.example/cart", "latest"), ("", digest), (None, None)):
        data = OverrideData(OverrideVerb.ADOPT, "production", "ops", "it runs", service="cart", image=image, digest=named)
        found = read_control(write_control("o-1", "cli", data))
        assert isinstance(found, Unreadable)
        assert "adopt needs image and digest of what runs" in found.reason
    data = OverrideData(OverrideVerb.ADOPT, "production", "ops", "it runs", service="cart", image="registry.example/cart", digest=digest)
    assert isinstance(read_control(write_control("o-1", "cli", data)), ControlEvent)


@pytest.mark.parametrize("verb", [OverrideVerb.FREEZE, OverrideVerb.UNFREEZE])
def test_a_freeze_of_a_rollout_is_refused_and_not_taken_for_one_of_its_environment(verb: OverrideVerb) -> None:
    value = write_control("x1", "ctl", OverrideData(verb, "production", "ada", "because", rollout="production/cart/9"))
    assert "pause production/cart/9 instead" in str(read_control(value))


def test_an_unknown_verb_is_refused_by_name() -> None:
    """The reason names the verb that nobody knows."""
    event = json.loads(write_control("o-1", "cli", DATA))
    event["data"]["verb"] = "explode"
    found = read_control(json.dumps(event).encode())
    assert isinstance(found, Unreadable)
    assert "explode" in found.reason


def test_a_long_reason_is_cut_and_its_override_taken() -> None:
    """Each of many rollouts would repeat it, and one decision keeps all: a pause is never refused, for that neither."""
    data = OverrideData(OverrideVerb.PAUSE, "production", "ada" * 100, "because " * 10_000)
    found = read_control(write_control("o-1", "cli", data))
    assert isinstance(found, ControlEvent)
    assert len(found.override.why) == 2_000
    assert found.override.why.startswith("because because ")
    assert found.override.why.endswith(" … (80000 characters)")
    assert len(found.override.who) == 200
