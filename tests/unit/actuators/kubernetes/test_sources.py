"""What the memory keeps of what versions are made from, and for how long."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes import sources
from ctrlplane_stream.actuators.kubernetes.memory import Memory, packed
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.sources import fitted, is_unknown, place_of, pruned, with_source
from ctrlplane_stream.local.control_plane.scene import template
from ctrlplane_stream.local.control_plane.scene import version as numbered
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.wire.templates import template_name

TARGET = Target("staging", "shop/cart")


def place(number, **said):
    """The place where the file has the n-th template, of n replicas."""
    return Place("shop", "shop-cart", template(number), named=name(number), **said)


def name(number):
    return template_name("cart.yaml", str(number).encode())


def version(number, made):
    """Version ``#number``, whose catalog named the n-th template."""
    return msgspec.structs.replace(numbered("shop/cart", number, 0), template=None if made is None else name(made))


def remembering(*made):
    """The memory of versions #1, #2 …, each made where the placement had its template."""
    memory = Memory(TARGET, place(1))
    for number, each in enumerate(made, start=1):
        memory = with_source(memory, place(each), version(number, each))
    return memory


def test_a_template_is_kept_once_and_each_version_has_its_own():
    memory = remembering(1, 2, 1)
    assert len(memory.templates) == 2
    assert [place_of(memory, place(3), f"#{n}").template for n in (1, 2, 3, 4)] == [template(1), template(2), template(1), template(3)]


def test_container_and_port_stay_what_they_were_for_a_version_and_are_the_placements_for_another():
    """A template that the placement no longer has is made with what stood beside it last."""
    memory = with_source(Memory(TARGET, place(1)), place(1, container="cart", port=80), version(1, 1))
    memory = with_source(memory, place(1, container="app", port=81), version(2, 1))
    memory = with_source(memory, place(2, container="other"), version(3, 1))
    found = [place_of(memory, place(2, container="other"), f"#{n}") for n in (1, 2, 3, 4)]
    assert [(each.container, each.port) for each in found] == [("cart", 80), ("app", 81), ("app", 81), ("other", None)]


@pytest.mark.parametrize("made", [None, 7])
def test_a_label_of_another_engine_does_not_come_to_mean_what_it_meant_before(made):
    """A topic prefix of its own begins with #1 again: what is no longer listed says nothing of it."""
    memory = with_source(remembering(1), place(2), version(1, made))
    assert (memory.sources, memory.templates) == ({}, {})
    assert is_unknown(memory, version(1, made)) is (made is not None)
    assert is_unknown(remembering(1), version(1, 7))


def test_the_last_ten_are_kept_and_whatever_is_listed_by_the_numbers_of_versions():
    memory = remembering(*range(1, 13))
    kept = pruned(memory, ("#1",))
    assert sorted(kept.sources) == sorted(f"#{n}" for n in (1, *range(3, 13)))
    assert len(kept.templates) == 11
    assert pruned(kept, ("#1",)) is kept


def test_where_there_is_no_room_what_was_deleted_goes_first_and_what_is_listed_is_refused(monkeypatch):
    memory = remembering(1, 2, 3)
    two = len(packed(msgspec.structs.replace(memory, templates=dict(list(memory.templates.items())[1:]))))
    assert two < len(packed(memory))
    monkeypatch.setattr(sources, "ROOM_BYTES", two)
    assert sorted(fitted(memory, ("#2",)).sources) == ["#2", "#3"]
    monkeypatch.setattr(sources, "ROOM_BYTES", two // 2)
    refused = fitted(memory, ("#2", "#3"))
    assert "the templates of the versions of staging:shop/cart are" in refused
    assert "take what is large out of the template" in refused
