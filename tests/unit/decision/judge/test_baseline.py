"""What the past of a service says of how much it scatters by itself."""

from typing import Any

from ctrlplane_stream.decision.judge import Baseline, observe, sort_rows
from ctrlplane_stream.decision.stats.dispersion import Dispersion, design_effect
from ctrlplane_stream.model.verdicts import Metric


def past(shop: Any, traffic: Any, **changing: Any) -> Baseline:
    """Forty windows; each thing that is ``changing`` is doubled in every other."""
    baseline = Baseline()
    for number in range(40):
        window = traffic(stable=400, candidate=0, **(changing if number % 2 else {}))
        baseline = observe(baseline, sort_rows(shop.window(number * 10, window), 0), ())
    return baseline


def effect(scatter: Dispersion) -> float:
    return design_effect(Dispersion(), scatter)


def test_a_steady_service_scatters_as_independent_requests_do(shop: Any, traffic: Any) -> None:
    known = past(shop, traffic).of("cart")
    for metric in (Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.NETWORK_GAP):
        assert effect(known.scatter_of(metric)) < 1.3, metric
    assert all(effect(scatter) < 1.3 for scatter in known.calls.values())


def test_latencies_that_come_and_go_are_known_to_scatter(shop: Any, traffic: Any) -> None:
    known = past(shop, traffic, stable_ms=40.0).of("cart")
    assert effect(known.scatter_of(Metric.LATENCY_P50)) > 5
    assert effect(known.scatter_of(Metric.LATENCY_P99)) > 2
    assert effect(known.scatter_of(Metric.ERROR_RATIO)) < 1.3


def test_calls_per_request_that_depend_on_who_asks_are_known_to_scatter(shop: Any, traffic: Any) -> None:
    """Two calls to the database per request in every window, but for the callers of another kind of request in every other."""
    baseline = Baseline()
    for number in range(40):
        window = shop.window(number * 10, traffic(stable=200, candidate=200, candidate_calls=8.0 if number % 2 else 2.0))
        baseline = observe(baseline, sort_rows(window, 0), ())
    assert effect(baseline.of("cart").calls["cart -database-> db"]) > 5
