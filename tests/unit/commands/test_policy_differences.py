"""In what a policy differs from another is said field by field, as a catalog writes them."""

from msgspec.structs import replace

from ctrlplane_stream.commands.other_policy import Told, words
from ctrlplane_stream.commands.policy_differences import policy_differences
from ctrlplane_stream.model.policy import Policy, Step, Unsure


def test_only_what_is_another_is_named_with_what_it_was_and_is() -> None:
    """Fields of the gate by their place in it; steps with all that bounds them."""
    was = Policy()
    now = replace(was, steps=(Step(100, 1, 2),), on_no_data=Unsure.ABORT, gate=replace(was.gate, alpha=0.05, metrics=()))
    steps, metrics, alpha, no_data = policy_differences(was, now)
    assert steps.startswith("steps: 5% for 60-1800 s of 3 windows, 25% for ")
    assert steps.endswith(" -> 100% for 1-2 s of 3 windows")
    assert no_data == "on_no_data: hold -> abort"
    assert metrics.startswith("gate.metrics: error_ratio, ")
    assert metrics.endswith(" -> none")
    assert alpha == "gate.alpha: 0.01 -> 0.05"
    assert policy_differences(was, was) == ()


def test_services_of_one_policy_are_told_of_together() -> None:
    lines = words(Told("lab", 1, 0, (), {"a": ("alpha: 1 -> 2",), "b": (), "c": ("alpha: 1 -> 2",)}))
    assert lines[1:4] == ["  where this policy is another than that of a, c:", "    alpha: 1 -> 2", "  this policy is that of b"]
