"""Which version a trace meets."""

import random

from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.local.host.split import Split, trace_id

traces = st.binary(min_size=32, max_size=32)
weights = st.integers(0, 100)


def version(trace: bytes, **shares: int) -> str | None:
    split = Split("shop/cart", {f"#{label[1:]}": weight for label, weight in shares.items()})
    return split.version(split.bucket(trace))


@given(traces, weights)
def test_a_trace_always_meets_the_same_version(trace, weight):
    assert version(trace, v1=100 - weight, v2=weight) == version(trace, v1=100 - weight, v2=weight)


@given(traces, weights, weights)
def test_a_raised_weight_only_adds_traces(trace, one, other):
    """Whoever met the candidate at a weight meets it at every greater one."""
    low, high = sorted((one, other))
    if version(trace, v1=100 - low, v2=low) == "#2":
        assert version(trace, v1=100 - high, v2=high) == "#2"


@given(traces, weights, weights)
def test_so_does_a_candidate_that_is_older_than_stable(trace, one, other):
    low, high = sorted((one, other))
    if version(trace, v9=low, v10=100 - low) == "#9":
        assert version(trace, v9=high, v10=100 - high) == "#9"


@given(st.integers(0, 99))
def test_every_bucket_of_whole_weights_has_a_version(bucket):
    assert Split("s", {"#1": 30, "#2": 0, "#3": 70}).version(bucket) in ("#1", "#3")
    assert Split("s", {"#1": 0, "#2": 0}).version(bucket) is None
    assert Split("s", {}).version(bucket) is None


def test_shares_of_traces_are_the_weights_and_two_services_differ():
    """Of 20,000 traces 25% meet each candidate and 6.25% both: within five standard deviations."""
    dice = random.Random(7)
    cart, stock = (Split(name, {"#1": 75, "#2": 25}) for name in ("shop/cart", "shop/stock"))
    ids = [f"{dice.getrandbits(128):032x}".encode() for _ in range(20_000)]
    in_cart = {trace for trace in ids if cart.version(cart.bucket(trace)) == "#2"}
    in_stock = {trace for trace in ids if stock.version(stock.bucket(trace)) == "#2"}
    assert abs(len(in_cart) - 5000) < 310
    assert abs(len(in_stock) - 5000) < 310
    assert abs(len(in_cart & in_stock) - 1250) < 175


def test_the_trace_id_of_a_traceparent():
    assert trace_id(b" 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01") == b"4bf92f3577b34da6a3ce929d0e0e4736"
    for wrong in (b"", b"00", b"00-short-00f067aa0ba902b7-01", b"00-4bf92f3577b34da6a3ce929d0e0e4736"):
        assert trace_id(wrong) is None
