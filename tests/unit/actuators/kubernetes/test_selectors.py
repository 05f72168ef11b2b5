"""Label selectors choose what Kubernetes says that they choose."""

import pytest

from ctrlplane_stream.actuators.kubernetes.selectors import chooses

LABELS = {"app": "cart", "tier": "front"}


def expression(key, operator, *values):
    """A selector of one expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "cart"}}, True),
        ({"matchLabels": {"app": "cart", "tier": "back"}}, False),
        (expression("tier", "In", "front", "back"), True),
        (expression("tier", "NotIn", "front"), False),
        (expression("zone", "NotIn", "eu"), True),
        (expression("zone", "Exists"), False),
        (expression("zone", "DoesNotExist"), True),
        (expression("app", "Gt", "1"), False),
        ({"matchLabels": {"app": "cart"}, **expression("tier", "In", "back")}, False),
    ],
)
def test_a_selector_chooses(selector, chosen):
    """All parts must hold; none at all choose everything, no selector nothing."""
    assert chooses(selector, LABELS) is chosen
