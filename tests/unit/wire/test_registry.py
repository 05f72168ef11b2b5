"""Reading what a registry tells of itself, in the form in which CNCF Distribution writes it."""

import json
from typing import Any

import pytest

from ctrlplane_stream.model.facts import Provenance
from ctrlplane_stream.wire.artifacts import ArtifactEvent
from ctrlplane_stream.wire.cloudevents import MAX_BYTES, Unreadable
from ctrlplane_stream.wire.registry import LeftOut, Notification, is_notification, read_notification

OCI = "application/vnd.oci.image.{}.v1+json"
DOCKER = "application/vnd.docker.distribution.{}.v2+json"
INDEX = OCI.format("index")
LAYER = "application/octet-stream"


def digest(number: int) -> str:
    """A digest like no other's."""
    return f"sha256:{number:064x}"


def event(number: int, media_type: str = INDEX, tag: str | None = "1.2", action: str = "push") -> dict[str, Any]:
    """The n-th event, with every field that Distribution fills; a tag only where it was pushed by one."""
    target = {
        "mediaType": media_type,
        "size": 708,
        "digest": digest(number),
        "length": 708,
        "repository": "shop/cart",
        "url": f"http://registry.example:5000/v2/shop/cart/manifests/{digest(number)}",
    }
    return {
        "id": f"320678d8-ca14-430f-8bb6-4ca139cd83f{number}",
        "timestamp": "2026-11-27T14:44:26.402973972-08:00",
        "action": action,
        "target": target | ({"tag": tag} if tag else {}),
        "request": {
            "id": "6df24a34-0959-4923-81ca-14f09767db19",
            "addr": "192.168.64.11:42961",
            "host": "registry.example:5000",
            "method": "PUT",
            "useragent": "docker/27.3.1",
        },
        "actor": {"name": "ci"},
        "source": {"addr": "xtal.local:10227", "instanceID": "a53db899-3b4b-4a62-a067-8dd013beaca4"},
    }


def envelope(*events: dict[str, Any]) -> bytes:
    """As ``json.MarshalIndent(envelope, "", "   ")`` writes it."""
    return json.dumps({"events": events}, indent=3).encode()


def _read(*events: dict[str, Any]) -> Notification:
    found = read_notification(envelope(*events))
    assert isinstance(found, Notification)
    return found


@pytest.mark.parametrize("media_type", [OCI.format("manifest"), INDEX, DOCKER.format("manifest"), DOCKER.format("manifest.list")])
def test_what_is_pushed_under_a_tag_is_an_artifact(media_type: str) -> None:
    """With the host that it was pushed to, the tag, and who pushed."""
    found = _read(event(1, media_type))
    assert found.pushed == (
        ArtifactEvent(event(1)["id"], "registry.example:5000/shop/cart", digest(1), provenance=Provenance(actor="ci", tag="1.2")),
    )
    assert (found.wrong, found.left_out) == ((), ())


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (event(1, LAYER, None), LeftOut.NO_MANIFEST),
        (event(1, "application/vnd.docker.container.image.v1+json", None), LeftOut.NO_MANIFEST),
        (event(1, OCI.format("manifest"), None), LeftOut.NO_TAG),
        (event(1, action="pull"), LeftOut.NO_PUSH),
        (event(1, action="delete"), LeftOut.NO_PUSH),
        (event(1, LAYER, None, action="mount"), LeftOut.NO_PUSH),
        (event(1, OCI.format("manifest"), f"sha256-{'a' * 64}.sig"), LeftOut.ATTACHED),
        (event(1, INDEX, f"sha256-{'a' * 64}"), LeftOut.ATTACHED),
    ],
)
def test_what_else_a_registry_tells_of_is_left_out_for_a_reason(told: dict[str, Any], why: LeftOut) -> None:
    """Layers and their configuration, each platform's manifest, pulls, and signatures start nothing."""
    assert _read(told) == Notification((), (), (why,))


def test_an_image_of_several_platforms_is_one_artifact() -> None:
    """Its index, whatever is pushed before it."""
    platforms = [event(n, OCI.format("manifest"), None) for n in (4, 5)]
    found = _read(*[event(n, LAYER, None) for n in (1, 2, 3)], *platforms, event(6))
    assert [each.digest for each in found.pushed] == [digest(6)]
    assert (found.wrong, len(found.left_out)) == ((), 5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digest": "sha512:" + "a" * 128}, "is not sha256"),
        ({"repository": "Shop"}, "is not a repository name"),
        ({"repository": None}, "is not a repository name"),
        ({"digest": 7}, "Expected `str | null`, got `int`"),
    ],
)
def test_one_event_that_cannot_be_used_does_not_keep_the_others(change: dict[str, Any], said: str) -> None:
    broken = event(2)
    found = _read(event(1), {**broken, "target": {**broken["target"], **change}}, event(3))
    assert [each.digest for each in found.pushed] == [digest(1), digest(3)]
    assert said in found.wrong[0]


def test_an_envelope_is_known_however_it_is_indented_and_by_nothing_else() -> None:
    told = {"events": [event(1)]}
    assert all(is_notification(json.dumps(told, indent=indent, separators=(",", ":")).encode()) for indent in (None, 1, 3, "\t"))
    assert not any(is_notification(value) for value in (b"", b"{}", b"[]", b'{"id":"events"}', b'{"eventsOf":[]}'))


@pytest.mark.parametrize("value", [b'{"events":[]}', b'{"events":', b'{"events":7}', b'{"events":["' + b"x" * MAX_BYTES + b'"]}'])
def test_garbage_is_a_value_with_a_reason(value: bytes) -> None:
    """Nothing raises, and the reason is short enough for a header."""
    found = read_notification(value)
    assert is_notification(value)
    assert isinstance(found, Unreadable)
    assert 10 < len(found.reason) < 500
