"""An environment that stands still since one of its facts cannot be decided: what people are told of it, and what they type.

Its rules cannot be asked then, and no timer of it runs, so whoever looks anywhere must be told here: nothing of it goes on by itself.
"""

import msgspec

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.notices import control
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.decision.targets import weights_of
from ctrlplane_stream.model.commands import Notify

PARKED = "parked"
"""The event of the notice of it."""


class Standstill(msgspec.Struct, frozen=True):
    """The fact that is parked, by its offset on the environment's partition of ``facts``, and what was raised on it."""

    environment: str
    fact_offset: int
    error: str

    @property
    def text(self) -> str:
        """What is so, in a sentence."""
        return (
            f"{self.environment} stands still: fact {self.fact_offset} cannot be decided ({self.error}), and all that came after it waits, "
            "timers and leases too"
        )

    @property
    def skip_command(self) -> str:
        """What passes over the fact, where no mended build can be had."""
        return f"{control('skip', self.environment)} --fact-offset {self.fact_offset}"

    @property
    def abort_command(self) -> str:
        """What brings every target that moves to its stable weight meanwhile."""
        return control("abort", self.environment)

    @property
    def remedy(self) -> str:
        """What to do."""
        return f"deploy a mended build, or pass over the fact: `{self.skip_command}`; all to stable meanwhile: `{self.abort_command}`"


def notice_of(still: Standstill, state: State) -> Notify:
    """Tell people, with the weights of what is under way. May raise: the state may be what is broken."""
    draft, catalog = Draft.as_of(state), state.find("catalog", e.CatalogEntry)
    return Notify(
        id=f"{still.environment}/parked/{still.fact_offset}",
        event=PARKED,
        text=f"{still.text}; {still.remedy}",
        rollout=None,
        weights={service: weights for rollout in draft.rollouts() for service, weights in weights_of(draft, rollout).items()},
        next_command=still.skip_command,
        webhook=catalog.notify if catalog is not None else None,
    )
