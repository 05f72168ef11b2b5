"""What a judge must say to be heard."""

import msgspec
import pytest

from ctrlplane_stream.model.verdicts import Verdict
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.verdicts import VERDICT, read_verdict

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
