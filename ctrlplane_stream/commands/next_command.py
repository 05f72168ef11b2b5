"""What to type next of a rollout: the one command that whoever looks at it most likely wants, and is not refused."""

from ctrlplane_stream.decision import entities as e
from ctrlplane_stream.decision.draft import Draft
from ctrlplane_stream.decision.holds import freeze_over, next_word
from ctrlplane_stream.decision.notices import control
from ctrlplane_stream.decision.phases import ENDED, Phase
from ctrlplane_stream.decision.state import State

_NOTHING_NEW = frozenset({"adoption", "revert"})
"""Causes of rollouts to what was there already: nobody mends that, and once it has all traffic nobody wants the version before."""


def next_command(rollout: e.Rollout, state: State) -> str | None:
    """What somebody who looks at this rollout most likely wants to type, and is not refused; None where it goes on by itself."""
    if rollout.advice is not None:
        return f"ctrlplane-stream advice {rollout.environment}:{rollout.units[0].service}"
    if rollout.phase is Phase.COMPLETED and (rollout.cause in _NOTHING_NEW or not _has_earlier(state, rollout.units[0].service)):
        return f"ctrlplane-stream plan IMAGE@DIGEST --environment {rollout.environment}"
    if rollout.cause == "adoption" and rollout.phase is Phase.REVERTED:
        return f"ctrlplane-stream control adopt {rollout.environment}:{rollout.units[0].service} --artifact IMAGE@DIGEST --why REASON"
    return _mend(rollout, state) if _may_be_mended(rollout) else _control_next(rollout, state)


def retry_command(rollout: e.Rollout) -> str | None:
    """What to type instead of ``next_command`` where a version went back for a cause that lies outside it; None where none did."""
    return control("retry", rollout.id) if _may_be_mended(rollout) else None


def stop_command(rollout: e.Rollout) -> str | None:
    """What ends one that nobody is asked about and that goes on by itself; None where it ends already."""
    ends = rollout.phase in (*ENDED, Phase.ABORTING, Phase.DRAINING, Phase.LEAVING)
    return None if ends or rollout.holds or rollout.advice is not None else control("abort", rollout.id)


def _control_next(rollout: e.Rollout, state: State) -> str | None:
    if rollout.phase in (Phase.COMPLETED, Phase.REVERTED):
        return control("revert" if rollout.phase is Phase.COMPLETED else "retry", rollout.id)
    draft = Draft.as_of(state)
    words = [next_word(draft, rollout, hold) for hold in reversed(rollout.holds)]
    if rollout.phase is Phase.QUEUED and not words and (frozen := freeze_over(draft, tuple(u.service for u in rollout.units))) is not None:
        words = [("unfreeze", frozen.scope(rollout.environment))]
    return next((control(*word) for word in words if word[0]), None)


def _may_be_mended(rollout: e.Rollout) -> bool:
    """Whether it took a new version back, for what was found of it or since a person said so: the same again most likely fails again."""
    return rollout.is_gone_back and rollout.cause not in _NOTHING_NEW and rollout.advice is None


def _mend(rollout: e.Rollout, state: State) -> str:
    """How a version that is mended comes here: as an image, or in the catalog where the configuration alone was another one."""
    unit = rollout.units[0]
    new, old = (state.find(f"version/{unit.service}/{label}", e.VersionEntry) for label in (unit.candidate, unit.stable))
    if new is not None and old is not None and new.artifact == old.artifact:
        return "ctrlplane-stream catalog apply FILE"
    return f"ctrlplane-stream artifact push {new.artifact.image if new is not None and len(rollout.units) == 1 else 'IMAGE'}@DIGEST"


def _has_earlier(state: State, service: str) -> bool:
    """Whether there is a version to revert to."""
    target = state.find(f"target/{service}", e.TargetEntry)
    return target is not None and target.earlier is not None
