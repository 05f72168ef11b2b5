"""What a recording has of another's addresses: only what nothing in it speaks against."""

import pytest

from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind
from ctrlplane_stream.telemetry.known_peers import KnownPeers
from ctrlplane_stream.telemetry.other_recording import Found, known_in

MOST = 64


def found(*pairs: str, environment: str = "prod") -> Found:
    """A recording in which each `caller address service` was a call that was answered; `topic/` begins the name of a destination."""
    peers = KnownPeers({}, MOST)
    for pair in pairs:
        caller, address, service = pair.split()
        peers.learn_pair(Origin(environment, caller, "1"), _peer(address), Origin(environment, service, "1"), 70)
    return Found(frozenset({environment}), peers.sightings)


def _peer(address: str) -> Peer:
    return Peer(PeerKind.DESTINATION if address.startswith("topic/") else PeerKind.EXTERNAL, address, address)


def behind(own: Found, other: Found, asked: str, environment: str = "prod") -> str | None:
    caller, address = asked.split()
    return KnownPeers({}, MOST, known_in(own, other)).service_behind(Origin(environment, caller, "2"), _peer(address), 0)


@pytest.mark.parametrize("address", ["cart.internal:80", "10.0.0.7:80", "[::1]:80", "/run/cart.sock"])
def test_who_is_silent_is_known_by_where_it_answered_in_the_other_recording(address: str) -> None:
    own, other = found("web pricing:80 pricing"), found(f"web {address} cart", "web pricing:80 pricing")
    assert behind(own, other, f"web {address}") == "cart"
    assert behind(own, other, "web pricing:80") == "pricing"


@pytest.mark.parametrize("address", ["shop-cart.internal:80", "10.0.0.7:80"])
def test_an_address_that_was_given_to_another_is_that_ones_in_each_recording(address: str) -> None:
    one, other = found(f"web {address} cart"), found(f"web {address} pricing")
    assert [behind(one, other, f"web {address}"), behind(other, one, f"web {address}")] == ["cart", "pricing"]


def test_a_gateway_is_nobodys_in_both_recordings_though_one_service_alone_answered_in_one() -> None:
    one, other = found("web gateway:80 cart", "web gateway:80 pricing"), found("web gateway:80 cart")
    assert [behind(one, other, "web gateway:80"), behind(other, one, "web gateway:80")] == [None, None]


def test_behind_an_ip_address_is_whom_the_recording_itself_found_whoever_had_it_besides_in_the_other() -> None:
    """Within a long recording it was dealt anew already."""
    assert behind(found("web 10.0.0.7:80 cart"), found("web 10.0.0.7:80 cart", "web 10.0.0.7:80 pricing"), "web 10.0.0.7:80") == "cart"


def test_an_address_at_which_another_answers_somebody_by_now_is_nobodys() -> None:
    """Whoever has it now did not answer this caller. An address that means another service to each caller does so in both recordings."""
    other = found("web 10.0.0.7:80 cart", "app 10.0.0.9:80 pricing")
    assert behind(found("app 10.0.0.7:80 pricing"), other, "web 10.0.0.7:80") is None
    other = found("web localhost:80 cart", "app localhost:80 pricing")
    assert behind(found("app localhost:80 pricing"), other, "web localhost:80") == "cart"


def test_an_ip_address_of_a_service_that_has_others_by_now_is_nobodys() -> None:
    """It answers nobody there: by now it may be the one of whoever died. While the service keeps one of those it had, it keeps them all."""
    other = found("web 10.0.0.7:80 cart", "web 10.0.0.8:80 cart")
    assert behind(found("web 10.0.0.9:80 cart"), other, "web 10.0.0.7:80") is None
    assert behind(found("web 10.0.0.8:80 cart"), other, "web 10.0.0.7:80") == "cart"
    assert behind(found("web cart.new:80 cart"), other, "web 10.0.0.7:80") == "cart"


def test_a_service_whose_address_was_given_to_another_is_still_known_by_its_name() -> None:
    own, other = found("web 10.0.0.7:80 pricing"), found("web 10.0.0.7:80 cart")
    peer = Peer(PeerKind.EXTERNAL, "cart", "10.0.0.9:80", "cart")
    assert KnownPeers({}, MOST, known_in(own, other)).service_behind(Origin("prod", "web", "2"), peer, 0) == "cart"


def test_of_a_destination_all_is_known_that_either_found() -> None:
    one, other = found("web topic/orders cart"), found("app topic/orders audit")
    for own, theirs in ((one, other), (other, one)):
        peers = KnownPeers({}, MOST, known_in(own, theirs))
        assert peers.producer_of(Origin("prod", "cart", "1"), _peer("topic/orders"), 0) is None
        assert peers.is_consumed(Origin("prod", "job", "1"), _peer("topic/orders"), 0)


def test_that_somebody_consumes_is_known_of_the_other_recording_and_that_nobody_answers_is_not() -> None:
    peers, web = KnownPeers({}, MOST), Origin("prod", "web", "1")
    peers.learn_consumer(Origin("prod", "cart", "1"), _peer("topic/orders"), 70)
    peers.learn_outside(web, _peer("bank:80"), 70)
    again = KnownPeers({}, MOST, known_in(found(), Found(frozenset({"prod"}), peers.sightings)))
    assert again.is_consumed(web, _peer("topic/orders"), 0)
    assert not again.is_outside(web, _peer("bank:80"), 0)


def test_two_recordings_of_one_environment_each_are_of_the_same_whatever_they_call_it() -> None:
    """A preview of each build. Names mean the same in both; an IP address is of a network of its own."""
    own, other = found("web x:80 x", environment="preview-2"), found("web cart:80 cart", "web 10.0.0.7:80 cart", environment="preview-1")
    assert behind(own, other, "web cart:80", "preview-2") == "cart"
    assert behind(own, other, "web 10.0.0.7:80", "preview-2") is None


def test_where_a_recording_is_of_several_environments_only_those_of_the_same_name_are_the_same() -> None:
    several = Found(frozenset({"prod", "staging"}), found("web cart:80 cart").sightings)
    assert behind(found("web x:80 x", environment="canary"), several, "web cart:80", "canary") is None
    assert behind(found("web x:80 x"), several, "web cart:80") == "cart"
