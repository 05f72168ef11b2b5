"""A memory that was read too old is known by the stamps of later ones."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.objects import STAMP
from ctrlplane_stream.actuators.kubernetes.place import Place, Route
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.stamps import is_overtaken
from ctrlplane_stream.model.identity import Target

PLACE = Place("shop", "shop-cart", route=Route("shop", "cart"))
TARGET = Target("staging", "shop/cart")


def sight(revision, *, deployment="7", route="7"):
    """A target whose memory was read at that revision, with these stamps on its objects, which are at 20."""
    record = msgspec.json.encode({"weights": {}, "stamp": route}).decode()
    return Sight(
        target=TARGET,
        place=PLACE,
        memory=None if revision is None else Memory(TARGET, PLACE),
        revision=revision,
        workloads={"shop-cart-v1": {"metadata": {"name": "shop-cart-v1", "resourceVersion": "20", "annotations": {STAMP: deployment}}}},
        services={},
        pods=(),
        route={"metadata": {"resourceVersion": "20", "annotations": {"ctrlplane-stream.dev/shop-cart": record}}, "spec": {}},
    )


@pytest.mark.parametrize(
    ("seen", "overtaken"),
    [
        (sight("7"), False),
        (sight("9"), False),
        (sight("8", deployment="9"), True),
        (sight("8", route="10"), True),
        (sight("8", deployment="", route="unknown"), False),
        (sight("8", deployment="99"), False),
        (sight("8", route="99"), False),
        (sight(None, route="10"), False),
    ],
)
def test_a_later_stamp_says_that_the_memory_is_old(seen, overtaken):
    """By number and not by text; without a memory everything begins anew, and one later than its bearer is of another cluster."""
    assert is_overtaken(seen) is overtaken
