"""What is learned of addresses is bounded, and what is forgotten is what was not seen for longest."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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


@given(st.integers(0, 10**9))
@example(0)
def test_whatever_had_to_make_room_a_rebuilt_stage_is_told_the_same(seed: int) -> None:
    """As long as it may go back, however many addresses are in use, where no window brings more of services than are remembered."""
    rng, peers, said = random.Random(seed), KnownPeers({}, MOST), list[list[tuple[str | None, bool]]]()

    def told(known: KnownPeers, window: int) -> list[tuple[str | None, bool]]:
        everyone = [address(number) for number in range(6 * MOST)]
        return [(known.service_behind(SHOP, one, window), known.is_outside(SHOP, one, window)) for one in everyone]

    for window in range(0, 20 * WINDOW, WINDOW):
        for number in rng.sample(range(4 * MOST), rng.randint(0, MOST)):
            peers.learn_pair(SHOP, address(number), CART, window)
        for number in rng.sample(range(4 * MOST, 6 * MOST), rng.randint(0, MOST)):
            peers.learn_outside(SHOP, address(number), window + WINDOW)
        said.append(told(peers, window))
        close(peers, window)
        again = KnownPeers({}, MOST, peers.sightings)
        asked = range(max(0, window - KEEP * WINDOW), window + WINDOW, WINDOW)
        assert [told(again, each) for each in asked] == [said[each // WINDOW] for each in asked]
        assert len(again.sightings) <= 3 * MOST


def test_an_address_that_was_given_to_another_service_is_that_ones() -> None:
    """Instances' addresses are used again, and services renamed. A stage that is rebuilt sees who was there at each time, also of one that
    came back."""
    peers, said = KnownPeers({}, MOST), []
    for number in range(20):
        window = number * WINDOW
        for service in {"cart"} if number < 5 else {"stock", "cart"} if number == 12 else {"stock"}:
            peers.learn_pair(SHOP, address(1), Origin("prod", service, "1"), window)
        said.append(peers.service_behind(SHOP, address(1), window))
        close(peers, window)
        again = KnownPeers({}, MOST, peers.sightings)
        asked = range(max(0, number - KEEP), number + 1)
        assert [again.service_behind(SHOP, address(1), each * WINDOW) for each in asked] == [said[each] for each in asked]
    stock, cart, nobody = ["stock"], ["cart"], [None]
    assert said == [*cart * 5, *nobody * 4, *stock * 4, *nobody * 4, *stock * 3]


def test_a_gateway_stays_nobodys() -> None:
    peers = KnownPeers({}, MOST)
    for number in range(20):
        peers.learn_pair(SHOP, address(1), CART, number * WINDOW)
        if number % KEEP == 0:
            peers.learn_pair(SHOP, address(1), Origin("prod", "stock", "1"), number * WINDOW)
        assert number == 0 or peers.service_behind(SHOP, address(1), number * WINDOW) is None
        close(peers, number * WINDOW)


def test_a_destination_whose_producer_was_renamed_has_one_known_producer() -> None:
    peers, orders = KnownPeers({}, MOST), Peer(PeerKind.DESTINATION, "kafka/orders", "kafka/orders")
    for number in range(10):
        peers.learn_pair(SHOP if number < 2 else Origin("prod", "store", "1"), orders, CART, number * WINDOW)
        close(peers, number * WINDOW)
    assert peers.producer_of(CART, orders, 9 * WINDOW) == "store"


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


def test_a_catalog_can_be_replaced_and_what_it_said_of_the_past_stays() -> None:
    """Also to a stage that is rebuilt with yet another one, as long as it may go back; of very many changes the first are forgotten."""
    peers = KnownPeers({"10.0.0.1": "cart"}, MOST)
    for window, catalog in ((50, {"10.0.0.1": "stock"}), (60, {}), (60, {"10.0.0.1": "bank"}), (70, {"10.0.0.1": "bank"})):
        peers.know(catalog, window)
    again = KnownPeers({}, MOST, catalogs=peers.catalogs)
    again.know({}, 70)
    for known, last in ((peers, "bank"), (again, None)):
        assert [known.service_behind(SHOP, address(1), window) for window in (0, 49, 50, 60, 70)] == ["cart", "cart", "stock", "bank", last]
    close(again, 110)
    assert [again.service_behind(SHOP, address(1), window) for window in (80, 90)] == [None, None]
    assert len(again.catalogs) == 1
    for window in range(100, 1_000):
        again.know({"10.0.0.1": str(window)}, window)
    assert len(again.catalogs) <= MOST
    assert again.service_behind(SHOP, address(1), 998) == "998"


def test_calls_to_ever_new_hosts_outside_make_no_service_of_ours_unknown() -> None:
    peers = KnownPeers({}, MOST)
    for number in range(100):
        window = number * WINDOW
        for other in range(3 * MOST):
            peers.learn_outside(SHOP, Peer(PeerKind.EXTERNAL, "host", f"{number}.{other}:80"), window + WINDOW)
        if number in {0, 50}:
            peers.learn_pair(SHOP, address(number), CART, window)
        close(peers, window)
        assert len(peers.sightings) <= 2 * MOST
    assert [peers.service_behind(SHOP, address(number), 990) for number in (0, 50)] == ["cart", "cart"]
    assert peers.forgotten == 0


def test_what_is_known_never_depends_on_the_order_within_a_window() -> None:
    outcomes = []
    for step in (1, -1):
        peers = KnownPeers({}, MOST)
        for window in range(0, 80, WINDOW):
            for number in range(window, window + 5 * MOST)[::step]:
                peers.learn_pair(SHOP, address(number), CART, window)
                peers.learn_outside(SHOP, Peer(PeerKind.EXTERNAL, "host", f"{number}:80"), window + WINDOW)
            close(peers, window)
        outcomes.append((peers.sightings, peers.forgotten))
        assert len(peers.sightings) <= 3 * MOST < peers.forgotten
    assert outcomes[0] == outcomes[1]


def answered(*calls: str) -> KnownPeers:
    """Calls that were answered, each `caller host[:port] service`, where need be with the RPC service that was called."""
    peers = KnownPeers({}, 64)
    for call in calls:
        caller, at, service, *rpc = call.split()
        peers.learn_pair(Origin("prod", caller, "1"), peer_at(at, *rpc), Origin("prod", service, "1"), 0)
    return peers


def peer_at(at: str, rpc: str = "", kind: PeerKind = PeerKind.EXTERNAL) -> Peer:
    return Peer(kind, at.partition(":")[0], at, rpc=rpc)


def behind(peers: KnownPeers, at: str, rpc: str = "", environment: str = "prod", kind: PeerKind = PeerKind.EXTERNAL) -> str | None:
    return peers.service_behind(Origin(environment, "late", "1"), peer_at(at, rpc, kind), 0)


def test_a_caller_that_nobody_answered_yet_is_told_what_answered_all_others_at_an_address() -> None:
    peers = answered("shop basket.internal:80 cart", "bank basket.internal:80 cart")
    assert [behind(peers, at) for at in ("basket.internal:80", "basket.internal", "basket.internal:81")] == ["cart", "cart", None]
    assert behind(peers, "basket.internal:80", environment="staging") is None
    assert behind(peers, "basket.internal:80", kind=PeerKind.DATABASE) is None
    assert behind(answered("shop basket.internal cart"), "basket.internal:80") == "cart"


def test_where_two_services_answered_others_nobody_is_told() -> None:
    peers = answered("shop basket.internal:80 cart", "bank basket.internal:80 stock", "bank basket.internal:81 stock")
    assert [behind(peers, at) for at in ("basket.internal:80", "basket.internal", "basket.internal:81")] == [None, None, "stock"]


def test_what_a_caller_found_itself_goes_before_what_answered_others() -> None:
    peers = answered("late basket.internal:80 stock", "shop basket.internal:80 cart", "shop basket.internal cart")
    assert [behind(peers, at) for at in ("basket.internal:80", "basket.internal")] == ["stock", "stock"]
    peers = answered("shop basket.internal:80 cart")
    peers.learn_outside(Origin("prod", "late", "1"), peer_at("basket.internal:80"), 0)
    assert behind(peers, "basket.internal:80") == "cart"


@pytest.mark.parametrize(
    "at",
    [
        *("localhost:80", "localhost", "api.localhost:80", "127.0.0.1:80", "127.8.0.1", "::1:80", "::1", "::ffff:127.0.0.1:80"),
        *("0.0.0.0:80", "169.254.1.1:80", "fe80::1%eth0:80", "/run/cart.sock", "unix:/run/cart.sock"),
    ],
)
def test_an_address_of_ones_own_machine_is_each_callers_own(at: str) -> None:
    """And what is found there is nobody else's by another name either: each Pod has a sidecar of its own."""
    peers = answered(f"shop {at} proxy runtime.Sidecar", "shop sidecar:81 proxy")
    assert [behind(peers, at), behind(peers, at, "runtime.Sidecar"), behind(peers, "sidecar:81")] == [None, None, None]
    assert behind(peers, "10.0.0.9:80", "runtime.Sidecar") is None
    assert peers.service_behind(SHOP, peer_at(at), 0) == "proxy"
    peers.learn_pair(Origin("prod", "bank", "1"), peer_at("sidecar:81"), Origin("prod", "proxy", "1"), 0)
    assert behind(peers, "sidecar:81") == "proxy"


def test_who_was_answered_by_itself_tells_nobody_but_speaks_against_another() -> None:
    assert behind(answered("shop mesh:81 shop"), "mesh:81") is None
    assert behind(answered("shop mesh:81 shop", "bank mesh:81 cart"), "mesh:81") is None
    assert behind(answered("cart mesh:81 cart", "bank mesh:81 cart"), "mesh:81") == "cart"


def test_at_an_ip_address_the_name_goes_first_by_which_others_were_answered() -> None:
    """It may have been another's: a new caller that meets a dead candidate there must not blame who had it before."""
    peers = answered("shop 10.0.0.1:80 stock", "bank 10.0.0.2:80 cart shop.Cart")
    assert [behind(peers, "10.0.0.1:80"), behind(peers, "10.0.0.1:80", "shop.Cart")] == ["stock", "cart"]


def test_what_answered_others_is_told_as_it_was_known_in_each_window() -> None:
    peers, late = KnownPeers({}, MOST), Origin("prod", "late", "1")
    said = []
    for number in range(3 * MOST):
        peers.learn_pair(SHOP, address(number), CART, number * WINDOW)
        said.append([peers.service_behind(late, address(each), number * WINDOW) for each in range(3 * MOST)])
        close(peers, number * WINDOW)
        again = KnownPeers({}, MOST, peers.sightings)
        for asked in range(max(0, number - KEEP), number + 1):
            assert [again.service_behind(late, address(each), asked * WINDOW) for each in range(3 * MOST)] == said[asked]
    assert said[0][0] == "cart"
    assert said[-1][0] is None
