"""What the demo promises about itself before anything runs."""

from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.demo.first_acts import FIRST_ACTS, expected_edges
from ctrlplane_stream.local.demo.parts import Parts
from ctrlplane_stream.local.demo.play import ALL_ACTS, chosen_acts
from ctrlplane_stream.local.demo.setting import demo_catalog, demo_policy, differences, steps_differ_in_times_only
from ctrlplane_stream.local.shop.topology import ENVIRONMENT, SERVICES
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.policy import Policy, problems
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash, read_catalog_record


def test_the_policy_differs_from_the_default_in_times_only() -> None:
    """Every other field is a duration, and the steps keep weights, windows and approvals."""
    policy = demo_policy()
    assert steps_differ_in_times_only(policy)
    assert all(name == "steps" or name.endswith("_seconds") for name in differences(policy))
    assert not steps_differ_in_times_only(msgspec.structs.replace(policy, steps=policy.steps[1:]))
    assert tuple(problems(policy)) == ()


def test_the_catalog_is_one_that_the_engine_takes() -> None:
    """It survives the topic, and has every service of the shop."""
    catalog = demo_catalog({"shop/cart": {"ERROR_SHARE": "0.4"}})
    record = CatalogRecord(catalog, catalog_hash(catalog), None, "demo")
    assert read_catalog_record(msgspec.json.encode(record)) == record
    view = catalog.view(ENVIRONMENT)
    assert [s.service for s in view.services] == sorted(s.name for s in SERVICES)
    cart = view.service("shop/cart")
    assert cart is not None
    assert cart.configuration["ERROR_SHARE"] == "0.4"


def test_the_shop_has_what_a_graph_must_show() -> None:
    """A chain of four, a fan-out, a shared dependency, a topic, and a second group that no edge joins to the first."""
    edges = expected_edges()
    calls = {(caller, callee) for caller, callee, kind in edges if kind is EdgeKind.CALL}
    assert {("shop/frontend", "shop/cart"), ("shop/cart", "shop/pricing"), ("shop/pricing", "shop/inventory")} <= calls
    assert sum(caller == "shop/frontend" for caller, _ in calls) >= 3
    assert sum(callee == "shop/inventory" for _, callee in calls) >= 3
    assert any(kind is EdgeKind.MESSAGE for _, _, kind in edges)
    assert not [e for e in edges if e[0].startswith("blog/") != e[1].startswith("blog/")]


def test_acts_are_chosen_by_name() -> None:
    """`short`, `all`, or names; an unknown name is refused with the known ones."""
    assert chosen_acts("short") == FIRST_ACTS
    assert chosen_acts("all") == ALL_ACTS
    assert [a.name for a in chosen_acts("dies,lease")] == ["dies", "lease"]
    with pytest.raises(ValueError, match="there is no act dance; acts are learn"):
        chosen_acts("dance")


def test_a_policy_of_other_margins_would_be_noticed() -> None:
    """The check that the demo prints is one that can fail."""
    other = msgspec.structs.replace(demo_policy(), on_no_data=Policy().on_unknown_service)
    assert "on_no_data" in differences(other)


def test_the_demo_takes_over_nothing_of_an_installation(tmp_path: Path) -> None:
    """Its Redis, its metrics port and its topics stay its own; on a broker of somebody else's, how to reach it is kept."""
    around = {"CTRLPLANE_REDIS_URL": "redis://theirs", "CTRLPLANE_METRICS_PORT": "9", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "PATH": "/bin"}
    own = Parts(tmp_path, "127.0.0.1:1", 4, environ=around).environ
    shared = Parts(tmp_path, "theirs:9092", 4, shared=True, environ=around).environ
    assert not {"CTRLPLANE_REDIS_URL", "CTRLPLANE_METRICS_PORT"} & {*own, *shared}
    assert ("KAFKA_SECURITY_PROTOCOL" in own, shared["KAFKA_SECURITY_PROTOCOL"]) == (False, "SASL_SSL")
    assert own.get("CTRLPLANE_TOPIC_PREFIX", "") == ""
    assert shared["CTRLPLANE_TOPIC_PREFIX"].startswith("ctrlplane-demo-")
