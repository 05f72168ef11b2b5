"""What is learned of addresses is bounded, and what is forgotten is what was not seen for longest."""

from ctrlplane_stream.telemetry.half import Origin, Peer, PeerKind
from ctrlplane_stream.telemetry.known_peers import KnownPeers, Sighting

SHOP, CART = Origin("prod", "shop", "1"), Origin("prod", "cart", "1")
MOST, WINDOW, KEEP = 8, 10, 3


def address(number: int) -> Peer:
    return Peer(PeerKind.EXTERNAL, "ip-address", f"10.0.0.{number}:80")


def close(peers: KnownPeers, window: int) -> None:
    peers.settle(window, KEEP, WINDOW)


def test_addresses_that_come_and_go_never_keep_new_ones_from_being_known() -> None:
    """Instances restart with new addresses for years: the thousandth is known as the first was, and what is in use stays known."""
    peers = KnownPeers({}, MOST)
    for number in range(1_000):
        window = number * WINDOW
        peers.learn_pair(SHOP, address(0), CART, window)
        peers.learn_pair(SHOP, address(number), CART, window)
        close(peers, window)
        assert peers.service_behind(SHOP, address(number), window) == "cart"
        assert peers.service_behind(SHOP, address(0), window) == "cart"
        assert len(peers.sightings) <= 2 * MOST
    assert peers.service_behind(SHOP, address(1), 10_000) is None


def test_what_is_forgotten_is_still_known_about_the_past() -> None:
    """A stage that is rebuilt asks about windows in which it was known."""
    peers = KnownPeers({}, MOST)
    for number in range(MOST + 1):
        peers.learn_pair(SHOP, address(number), CART, number * WINDOW)
    close(peers, MOST * WINDOW)
    again = KnownPeers({}, MOST, peers.sightings)
    again.learning = False
    for known in (peers, again):
        assert known.service_behind(SHOP, address(0), MOST * WINDOW) == "cart"
        assert known.service_behind(SHOP, address(0), MOST * WINDOW + WINDOW) is None
    assert again.sightings == peers.sightings


def test_within_one_window_the_order_of_learning_does_not_matter() -> None:
    numbers = list(range(2 * MOST - 1))
    outcomes = []
    for order in (numbers, numbers[::-1]):
        peers = KnownPeers({}, MOST)
        for number in order:
            peers.learn_pair(SHOP, address(number), CART, 0)
        close(peers, 0)
        outcomes.append(peers.sightings)
    assert outcomes[0] == outcomes[1]


def test_a_port_that_answered_nobody_is_not_the_service_that_its_host_is_without_a_port() -> None:
    peers = KnownPeers({}, MOST)
    with_port, without = (Peer(PeerKind.EXTERNAL, "cart.local", at) for at in ("cart.local:81", "cart.local"))
    peers.learn_pair(SHOP, without, CART, 0)
    assert peers.service_behind(SHOP, with_port, 0) == "cart"
    peers.learn_outside(SHOP, with_port, WINDOW)
    assert peers.service_behind(SHOP, with_port, WINDOW) is None


def test_sightings_of_an_older_checkpoint_are_read() -> None:
    old = Sighting("prod", "shop", "10.0.0.1:80", "cart", 70)
    assert KnownPeers({}, MOST, (old,)).service_behind(SHOP, address(1), 70) == "cart"


def test_a_catalog_can_be_replaced() -> None:
    peers = KnownPeers({}, MOST)
    peers.catalog = {"10.0.0.1": "cart"}
    assert peers.service_behind(SHOP, address(1), 0) == "cart"
