"""In what one policy differs from another, field by field, as they are written in a catalog."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.policy import Policy


def policy_differences(was: Policy, now: Policy) -> tuple[str, ...]:
    """A line for each field that is another: its name (of a gate's with ``gate.`` before it), what it was, what it is."""
    before, after = (dict(_flat(msgspec.to_builtins(policy))) for policy in (was, now))
    return tuple(f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name])


def _flat(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        elif name == "steps":
            yield f"{above}{name}", ", ".join(map(_step, value))
        else:
            yield f"{above}{name}", ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _step(step: dict[str, Any]) -> str:
    more = f" of {counted(step['min_windows'], 'window')}" + (", by approval" if step["approval"] else "")
    return f"{step['weight']}% for {step['min_seconds']:g}-{step['max_seconds']:g} s{more}"
