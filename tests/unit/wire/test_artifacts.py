"""Reading what a source says of an artifact."""

import json
from typing import Any

import pytest

from ctrlplane_stream.model.facts import Provenance
from ctrlplane_stream.wire.artifacts import PUSHED, ArtifactEvent, read_artifact
from ctrlplane_stream.wire.cloudevents import MAX_BYTES, Unreadable

DIGEST = "sha256:" + "ab" * 32
OURS: dict[str, Any] = {
    "specversion": "1.0",
    "id": "build-7",
    "source": "ci",
    "type": PUSHED,
    "data": {"image": "registry.example/shop/cart", "digest": DIGEST, "environment": "staging", "provenance": {"commit": "c0ffee"}},
}


def _read(event: object) -> ArtifactEvent | Unreadable:
    return read_artifact(json.dumps(event).encode())


def test_our_own_event_is_read_whole() -> None:
    """Every field that the event gives arrives."""
    expected = ArtifactEvent("build-7", "registry.example/shop/cart", DIGEST, environment="staging", provenance=Provenance(commit="c0ffee"))
    assert _read(OURS) == expected


@pytest.mark.parametrize(
    "time", ["2026-11-27T15:00:00Z", "2026-11-27T15:00:00.123456789+02:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_the_time_of_an_event_decides_nothing(time: str) -> None:
    """A sender's clock may be wrong: the broker's is what counts."""
    assert _read({**OURS, "time": time}) == _read(OURS)


@pytest.mark.parametrize("time", ["9999999-99-99", "yesterday", "", "2026-02-30T00:00:00Z", 1_700_000_000, ["2026-11-27T15:00:00Z"]])
def test_what_is_no_time_is_refused_where_one_belongs(time: object) -> None:
    """CloudEvents 1.0: RFC 3339 where it is given at all."""
    refused = _read({**OURS, "time": time})
    assert (isinstance(refused, Unreadable), "`$.time`" in str(refused)) == (True, True)


def test_a_cdevents_package_url_names_image_digest_and_tag() -> None:
    """A package URL of type oci, as CDEvents puts it into the subject, is taken apart by the purl specification's rules."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/ci",
        "type": "dev.cdevents.artifact.published.0.2.0",
        "data": {
            "context": {},
            "subject": {"id": f"pkg:oci/cart@{DIGEST.replace(':', '%3A')}?repository_url=registry.example/shop/cart&tag=v1.2"},
        },
    }
    found = _read(event)
    assert not isinstance(found, Unreadable)
    assert (found.image, found.digest, found.provenance.tag) == ("registry.example/shop/cart", DIGEST, "v1.2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digest": "latest"}, "a tag alone names no artifact"),
        ({"digest": DIGEST.upper()}, "not sha256"),
        ({"image": "registry.example/shop/cart:v1@x"}, "without tag or digest"),
        ({"image": "Registry/../x"}, "without tag or digest"),
        ({"environment": "x" * 300}, "1 to 255 characters"),
        ({"digest": None}, "Expected `str`, got `null`"),
    ],
)
def test_what_is_wrong_with_the_data_is_said(change: dict[str, Any], said: str) -> None:
    """The reason names the field and what was expected."""
    found = _read({**OURS, "data": {**OURS["data"], **change}})
    assert isinstance(found, Unreadable)
    assert said in found.reason


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'"' + b"x" * (MAX_BYTES + 1) + b'"',
        "ü".encode("utf-16"),
    ],
)
def test_garbage_is_a_value_with_a_reason(value: bytes | None) -> None:
    """Nothing raises, and the reason is short enough for a header."""
    found = read_artifact(value)
    assert isinstance(found, Unreadable)
    assert 10 < len(found.reason) < 500


def test_an_unknown_event_type_is_refused_with_what_to_send() -> None:
    """The sender learns which types are understood."""
    found = _read({**OURS, "type": "com.example.other"})
    assert isinstance(found, Unreadable)
    assert PUSHED in found.reason
