"""What was typed and is not there: a mistyped emergency stop names what there is instead."""

import pytest

from ctrlplane_stream.commands.scope import not_in_catalog, nowhere, read_scope
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.decision.state import State
from tests.scenario.shop import shop, until


@pytest.mark.parametrize(
    ("scope", "wrong"),
    [
        ("production", None),
        ("production:cart", None),
        ("production/cart/1", None),
        ("production/cart/2", None),
        ("production/crat/2", "there is no rollout production/crat/2; under way are: production/cart/2"),
        ("production:crat", "the catalog has no service crat in production; it has "),
    ],
)
def test_what_is_not_there_is_said_with_what_is(scope: str, wrong: str | None) -> None:
    """A rollout that has ended is there."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    _, service, rollout = read_scope(scope)
    said = nowhere(loop.driver.state, service, rollout)
    assert said is wrong is None or (wrong is not None and said is not None and said.startswith(wrong)), said


def test_an_environment_that_no_catalog_has_is_said() -> None:
    """Before any catalog, or by a name that is none."""
    assert "no engine has read of an environment nowhere yet" in (not_in_catalog(State.empty("nowhere"), "cart") or "")
