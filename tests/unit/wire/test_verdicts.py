"""What a judge must say to be heard."""

import msgspec
import pytest

from ctrlplane_stream.model.identity import EdgeKey, EdgeKind
from ctrlplane_stream.model.verdicts import Arm, Comparison, GuardRole, Metric, MetricEvidence, Verdict, VerdictStatus
from ctrlplane_stream.wire.cloudevents import MAX_BYTES, Unreadable
from ctrlplane_stream.wire.verdicts import VERDICT, read_verdict, write_verdict

DATA = {
    "judge": "orders",
    "environment": "production",
    "rollout": "production/shop-cart/2",
    "step": 1,
    "attempt": 1,
    "status": "FAIL",
    "reason": "a fifth fewer orders than an hour ago",
}


def read(**data: object) -> Verdict | Unreadable:
    """As an outside judge writes it."""
    return read_verdict(msgspec.json.encode({"specversion": "1.0", "type": VERDICT, "source": "orders", "id": "1", "data": data}))


def test_the_least_that_a_judge_says() -> None:
    verdict = read(**DATA)
    assert isinstance(verdict, Verdict)
    assert verdict.judge == "orders"


@pytest.mark.parametrize("field", DATA)
def test_what_lacks_any_of_it_is_not_read(field: str) -> None:
    """Above all not one without a name, which would be taken for our own judge's word: the last on evidence and time."""
    verdict = read(**{name: value for name, value in DATA.items() if name != field})
    assert isinstance(verdict, Unreadable)
    assert f"`{field}`" in verdict.reason


def _evidence(number: int, role: GuardRole, **more: object) -> MetricEvidence:
    name, arm = f"shop/service-{number:04}", Arm(123.0, 45678.9, 0.0026927)
    edge = EdgeKey(name, "shop/auth", EdgeKind.CALL)
    given: dict[str, object] = {"edge": edge, "stable": arm, "candidate": arm, "interval": (-0.01, 0.01), "e_value": 1.0 + number, **more}
    return MetricEvidence(Metric.ERROR_RATIO, name, role, Comparison.BASELINE, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("guards", [10, 5_000])
def test_a_verdict_on_however_many_guards_can_be_read_again(guards: int) -> None:
    """What failed and what must be proven is in it, then what is loudest; how much is left out is said."""
    quiet = tuple(_evidence(number, GuardRole.COLLATERAL) for number in range(guards))
    telling = _evidence(0, GuardRole.CHANGED), _evidence(1, GuardRole.COLLATERAL, status=VerdictStatus.FAIL)
    verdict = Verdict(**{**DATA, "metrics": (*quiet, *telling), "status": VerdictStatus.FAIL})  # type: ignore[arg-type]
    value = write_verdict("1", "/judge", verdict)
    again = read_verdict(value)
    assert isinstance(again, Verdict)
    if guards == 10:
        assert again == verdict
        return
    assert MAX_BYTES // 2 < len(value) <= MAX_BYTES
    assert again.metrics[-2:] == telling
    assert again.metrics[-3] == quiet[-1]
    left = len(verdict.metrics) - len(again.metrics)
    assert (
        again.reason
        == f"{DATA['reason']} The evidence on {left} of 5002 metrics, which tells least, is not in this record: it would be too long."
    )
