"""What the judge is asked of a candidate of cart: what such questions have in common, so that a test says what its own is about."""

from ctrlplane_stream.model.verdicts import Assignment, Change, Guard, GuardRole

CHANGED = Guard("cart", GuardRole.CHANGED, required=True)
ENTRY = Guard("", GuardRole.ENTRY, required=True)


def asked(weight: float, *guards: Guard, past: int, **more: object) -> Assignment:
    """cart #2 beside #1 in its first step of four, at that weight since the end of so many windows of ten seconds."""
    given: dict[str, object] = {"step": 0, "attempt": 1, "steps": 4, "changed": (Change("cart", "#2", "#1"),)}
    at = {"weight": weight, "weight_confirmed_at_ms": past * 10_000}
    return Assignment(rollout="cart-2", environment="prod", **{**given, **at, "guards": guards, **more})  # type: ignore[arg-type]
