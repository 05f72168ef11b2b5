"""What an act is done to."""

from collections.abc import Callable
from typing import Protocol

from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.simulation.loop import Loop
from ctrlplane_stream.simulation.plans import Act, Plan
from ctrlplane_stream.testing import START_MS

CALM_COMES_MS = START_MS + 230_000
"""Nothing is put off until after this: by then everything is about to be mended."""


class Stage(Protocol):
    """What an act is done to: the environment that is checked, the one before it (None: there is none), and the catalog."""

    plan: Plan
    loop: Loop
    staging: Loop | None
    services: dict[str, ServiceInEnvironment]

    def apply_catalog(self) -> None:
        """Bring ``services`` into force."""
        ...


Doing = Callable[[Stage, Act], None]
"""What an act does."""
