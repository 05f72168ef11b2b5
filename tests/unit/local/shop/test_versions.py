"""What a version is told decides how it behaves, and what it cannot be told is refused with the remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.local.shop import touched
from ctrlplane_stream.local.shop.conduct import BadConfiguration, Conduct, conduct
from ctrlplane_stream.local.shop.images import BUILDS, Behaviour, behaviour_of, digest
from ctrlplane_stream.local.shop.surroundings import BadSurroundings, read
from ctrlplane_stream.local.shop.topology import SERVICES

_NAMES = [service.name for service in SERVICES]


@given(st.sampled_from(_NAMES), st.sampled_from(Behaviour), st.sampled_from(BUILDS))
def test_a_digest_says_how_its_image_behaves(service: str, behaviour: Behaviour, build: int) -> None:
    """There and back, for every image of every service."""
    assert behaviour_of(service, digest(service, behaviour, build)) is behaviour


def test_no_two_images_share_a_digest() -> None:
    """Not between builds, behaviours or services; and one service does not know another's."""
    digests = {digest(s, behaviour, build) for s in _NAMES for behaviour in Behaviour for build in BUILDS}
    assert len(digests) == len(_NAMES) * len(Behaviour) * len(BUILDS)
    assert behaviour_of("shop/cart", digest("shop/pricing", Behaviour.HEALTHY)) is None
    with pytest.raises(ValueError, match="does not exist"):
        digest("shop/cart", Behaviour.HEALTHY, BUILDS.stop)


def test_a_digest_is_the_same_for_ever() -> None:
    """Recorded telemetry and documents name it."""
    assert digest("shop/cart", Behaviour.ERRORS, 2) == "sha256:1e7b1f59d25f48c15f88d12ad222d4f1d1f856f1b9fad557a887568cf35d637d"


def test_a_healthy_image_without_configuration_has_no_faults() -> None:
    """And every other behaviour has one."""
    assert conduct(Behaviour.HEALTHY, {"GREETING": "hello"}) == Conduct()
    assert all(conduct(behaviour, {}) != Conduct() for behaviour in Behaviour if behaviour is not Behaviour.HEALTHY)


@given(st.floats(0, 1), st.floats(0, 1000))
def test_configuration_can_make_a_healthy_image_bad(share: float, delay: float) -> None:
    """Errors and delay can be configured; the worse of image and configuration prevails."""
    made = conduct(Behaviour.HEALTHY, {"ERROR_SHARE": str(share), "DELAY_MILLISECONDS": str(delay)})
    assert (made.error_share, made.delay_milliseconds) == (share, delay)
    assert conduct(Behaviour.ERRORS, {"ERROR_SHARE": str(share)}).error_share == max(share, 0.3)


@pytest.mark.parametrize("value", ["1.1", "-0.1", "nan", "many", ""])
def test_a_configuration_value_that_cannot_be_is_refused(value: str) -> None:
    """With key and value in the text."""
    with pytest.raises(BadConfiguration, match=f"ERROR_SHARE='{value}'"):
        conduct(Behaviour.HEALTHY, {"ERROR_SHARE": value})


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, "SERVICE"),
        ({"SERVICE": "shop/none"}, "shop/none"),
        ({"SERVICE": "shop/cart", "DIGEST": "sha256:00"}, "DIGEST"),
        ({"SERVICE": "shop/cart", "PORT": "http"}, "PORT"),
        ({"SERVICE": "shop/checkout"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"SERVICE": "shop/cart", "CONFIG_ERROR_SHARE": "2"}, "ERROR_SHARE"),
        ({"SERVICE": "shop/cart", "CTRLPLANE_ROUTES": "["}, "CTRLPLANE_ROUTES"),
    ],
)
def test_wrong_surroundings_are_refused_by_name(environ: dict[str, str], names: str) -> None:
    """Each text says which variable it is about."""
    with pytest.raises(BadSurroundings, match=names):
        read(environ)


def test_surroundings_are_read_whole() -> None:
    """A service's own configuration is the default, what it is given prevails."""
    told = read(
        {
            "SERVICE": "shop/payment",
            "PORT": "8001",
            "DIGEST": digest("shop/payment", Behaviour.LATENCY),
            "CTRLPLANE_VERSION": "#2",
            "CTRLPLANE_ROUTES": '{"shop/cart": "http://127.0.0.1:9"}',
            "CONFIG_DELAY_MILLISECONDS": "7",
        }
    )
    assert (told.port, told.version, told.image) == (8001, "#2", "registry.example/shop/payment")
    assert told.routes == {"shop/cart": "http://127.0.0.1:9"}
    assert told.conduct == Conduct(error_share=0.01, delay_milliseconds=300.0)


_LABELS = st.sampled_from(["#1", "#2", "unknown", "v1.2"])


@given(st.lists(st.frozensets(st.tuples(st.sampled_from(_NAMES), _LABELS))))
def test_what_was_touched_survives_the_wire(parts: list[frozenset[tuple[str, str]]]) -> None:
    """Joining, writing and reading loses and adds nothing."""
    joined = touched.join(parts)
    assert touched.read(touched.write(joined)) == joined == frozenset(pair for part in parts for pair in part)


@given(st.text())
def test_any_header_can_be_read(header: str) -> None:
    """A foreign header gives pairs or nothing."""
    assert all(service and label for service, label in touched.read(header))
