"""How a measurement prints what it found."""

import json
from collections.abc import Mapping


def show(figures: Mapping[str, Mapping[str, float]], *, as_json: bool, decimals: int = 2) -> None:
    """A line for each group of figures, or JSON."""
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    for name, found in figures.items():
        print(f"{name}: " + ", ".join(f"{what} {value:,.{decimals}f}" for what, value in found.items()))
