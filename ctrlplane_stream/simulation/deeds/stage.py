"""What an act is done to."""

from collections.abc import Callable
from typing import Protocol

from ctrlplane_stream.model.catalog import ServiceInEnvironment
from ctrlplane_stream.simulation.loop import Loop
from ctrlplane_stream.simulation.plans import Act, Plan
from ctrlplane_stream.testing import START_MS


class Stage(Protocol):
    """What an act is done to: the environment that is checked, the one before it (None: there is none), and the catalog."""

    plan: Plan
    loop: Loop
    staging: Loop | None
    services: dict[str, ServiceInEnvironment]

    def apply_catalog(self) -> None:
        """Bring ``services`` into force."""
        ...


def calm_comes(stage: Stage) -> bool:
    """Whether everything is about to be mended: nothing is put off until after that."""
    return stage.loop.now_ms >= START_MS + (stage.plan.chaos - 10) * 1000


Doing = Callable[[Stage, Act], None]
"""What an act does."""
