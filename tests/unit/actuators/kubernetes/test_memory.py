"""What a target remembers, as one ConfigMap."""

import msgspec
import pytest

from ctrlplane_stream.actuators.kubernetes.memory import Memory, MemoryUnreadable, memory_manifest, packed, read_memory
from ctrlplane_stream.actuators.kubernetes.place import Source
from ctrlplane_stream.local.control_plane.scene import routed_place, template
from ctrlplane_stream.model.identity import Target

TARGET = Target("staging", "shop/cart")
MEMORY = Memory(TARGET, routed_place("shop", TARGET.service), made=("#1",))


def test_a_memory_is_read_as_it_was_written_and_written_the_same_again():
    """The template, which is no business of who reads the rest, lies packed beside it."""
    manifest = memory_manifest(MEMORY, "7")
    assert read_memory(manifest, TARGET) == MEMORY
    assert memory_manifest(MEMORY, "7") == manifest
    assert "containers" not in manifest["data"]["memory"]


def test_templates_of_versions_are_packed_with_it_and_one_that_is_the_places_own_once():
    """The same manifests twice would take the room of two."""
    own = MEMORY.place.template
    memory = msgspec.structs.replace(MEMORY, templates={"a": own, "b": template(3)})
    assert read_memory(memory_manifest(memory, "7"), TARGET) == memory
    assert len(packed(memory)) < len(packed(msgspec.structs.replace(memory, templates={"a": template(4), "b": template(3)})))


def test_a_memory_that_has_its_template_in_itself_is_read():
    """As they were written before."""
    manifest = memory_manifest(MEMORY, "7")
    del manifest["binaryData"]
    manifest["data"]["memory"] = msgspec.json.encode(MEMORY).decode()
    assert read_memory(manifest, TARGET) == MEMORY


@pytest.mark.parametrize("packed", ["not base64!", "bm90IGd6aXA=", "H4sIAAAAAAACAwMAAAAAAAAAAAA", "H4sIAAAAAAAC"])
def test_a_template_that_is_damaged_is_a_memory_that_cannot_be_read(packed):
    manifest = memory_manifest(MEMORY, "7")
    (key,) = manifest["binaryData"]
    manifest["binaryData"][key] = packed
    with pytest.raises(MemoryUnreadable, match="restore it, or delete it"):
        read_memory(manifest, TARGET)


@pytest.mark.parametrize("of", ["the place", "a version"])
def test_a_memory_whose_templates_were_taken_away_cannot_be_read(of):
    """It would be taken for one of a place that names no template, and a version be made, or scaled, by nothing."""
    place = msgspec.structs.replace(MEMORY.place, named="cart.yaml@sha256:1")
    memory = msgspec.structs.replace(MEMORY, place=place)
    if of == "a version":
        memory = msgspec.structs.replace(MEMORY, sources={"#1": Source("a")}, templates={"a": template(3)})
    manifest = memory_manifest(memory, "7")
    del manifest["binaryData"]
    with pytest.raises(MemoryUnreadable, match=r"templates are missing.*; restore it, or delete it"):
        read_memory(manifest, TARGET)


def test_a_lease_that_ends_after_the_last_date_is_kept_and_told_as_that():
    """A policy may give one that is as good as endless; what people are shown of it has to be a date."""
    memory = msgspec.structs.replace(MEMORY, ledger=msgspec.structs.replace(MEMORY.ledger, lease_until=1e12))
    manifest = memory_manifest(memory, "7")
    assert "9999-12-31T23:59:59+00:00" in manifest["metadata"]["annotations"].values()
    assert read_memory(manifest, TARGET) == memory
