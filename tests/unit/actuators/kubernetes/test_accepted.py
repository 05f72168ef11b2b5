"""What gateways say of a route, as it is told to people and to the engine."""

import pytest

from ctrlplane_stream.actuators.kubernetes.accepted import refused

EDGE = {"name": "edge", "sectionName": "https"}


def route(*parents, references=(EDGE,)):
    return {
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {"parentRefs": list(references)},
        "status": {"parents": list(parents)},
    }


def parent(reference=EDGE, **conditions):
    said = [{"type": kind, "status": status, "reason": "Why", "message": "the words"} for kind, status in conditions.items()]
    return {"parentRef": reference, "controllerName": "example.com/gateway", "conditions": said}


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"Accepted": "False"}, "HTTPRoute shop is not accepted by Gateway edge, listener https: Why: the words"),
        (
            {"Accepted": "True", "ResolvedRefs": "False"},
            "HTTPRoute shop has a backend that is not found by Gateway edge, listener https: Why: the words",
        ),
        (
            {"Accepted": "True", "PartiallyInvalid": "True"},
            "HTTPRoute shop is in force in parts by Gateway edge, listener https: Why: the words",
        ),
    ],
)
def test_a_gateway_that_says_no_is_named_with_its_reason(conditions, words):
    assert refused("HTTPRoute", route(parent(**conditions))) == words


@pytest.mark.parametrize(
    "conditions", [{}, {"Accepted": "Unknown"}, {"Accepted": "True", "ResolvedRefs": "True", "PartiallyInvalid": "False"}]
)
def test_one_that_says_yes_or_nothing_is_no_obstacle(conditions):
    assert refused("HTTPRoute", route(parent(**conditions))) is None
    assert refused("HTTPRoute", route()) is None
    assert refused("HTTPRoute", {key: value for key, value in route().items() if key != "status"}) is None


def test_a_parent_is_the_same_however_much_of_its_reference_is_left_out():
    whole = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "prod", **EDGE}
    assert refused("HTTPRoute", route(parent(whole, Accepted="False"))) is not None


@pytest.mark.parametrize("other", [{"name": "edge"}, {**EDGE, "namespace": "else"}, {**EDGE, "kind": "Service", "group": ""}])
def test_what_is_said_of_a_parent_that_the_route_no_longer_names_is_a_leftover(other):
    assert refused("HTTPRoute", route(parent(other, Accepted="False"))) is None


def test_all_that_say_no_are_named_and_one_that_says_yes_does_not_outvote_them():
    references = ({"name": "inner"}, {"name": "outer"}, {"name": "third"})
    parents = [parent(each, Accepted="True" if each["name"] == "third" else "False") for each in references]
    said = refused("GRPCRoute", route(*parents, references=references))
    assert said == "; ".join(f"GRPCRoute shop is not accepted by Gateway {name}: Why: the words" for name in ("inner", "outer"))
