"""What is to be written next, decided on one sight: pure, and the same for whoever decides.

Rounds, not plans: a few steps are decided, carried out, and everything is looked at anew. First the memory (a lease
that ran out, an edit to report), then what is missing, then weight, and only when none of that is left what is too
much. So capacity comes before weight and goes after it (invariants 2 and 4), whenever the one who writes is killed.
"""

from collections.abc import Collection

import msgspec

from ctrlplane_stream.actuators.in_place import shares
from ctrlplane_stream.actuators.kubernetes.adoption import begun, is_rolled_out, is_still_rolling_out, misfit, succession
from ctrlplane_stream.actuators.kubernetes.behind_service import shared_steps
from ctrlplane_stream.actuators.kubernetes.by_route import routed_steps
from ctrlplane_stream.actuators.kubernetes.by_runs import run_steps
from ctrlplane_stream.actuators.kubernetes.exchanging import exchange_steps
from ctrlplane_stream.actuators.kubernetes.manifests import STANDBY
from ctrlplane_stream.actuators.kubernetes.memory import Memory
from ctrlplane_stream.actuators.kubernetes.names import standby_name, version_slug
from ctrlplane_stream.actuators.kubernetes.objects import (
    ADOPTED_AT,
    LABEL,
    MANAGED_BY,
    MANAGER,
    ROLE,
    STAMP,
    VERSION,
    annotation,
    label,
    name_of,
)
from ctrlplane_stream.actuators.kubernetes.sight import Sight
from ctrlplane_stream.actuators.kubernetes.sources import pruned
from ctrlplane_stream.actuators.kubernetes.steps import (
    Complete,
    Count,
    End,
    Floor,
    Make,
    Remember,
    Remove,
    Return,
    Scale,
    Step,
    Steps,
)
from ctrlplane_stream.actuators.kubernetes.strays import IS_GONE, IS_UNMARKED, objects_of, strays, ways, words
from ctrlplane_stream.actuators.kubernetes.weights import as_seen, by_replicas, by_shares, in_force, pod_shares, replicas
from ctrlplane_stream.actuators.ledger import Ledger, and_then, expire
from ctrlplane_stream.model.identity import ServiceKind
from ctrlplane_stream.model.world import Capacity, TargetWanted


def due(sight: Sight, now: float, refused: Collection[str] = ()) -> Steps:
    """The next steps, in their order; empty where all is as it should be, or a person's edit stands. ``now``: unix seconds.

    ``refused`` are those (see ``concern``) that the API server will not have: they are not asked for again, nor waited for.
    """
    memory = sight.memory
    if memory is None or memory.ledger.wanted is None:
        return ()
    right = remembered(sight, memory, now)
    if right != memory:
        return (Remember(right),)
    if memory.ledger.edited is not None and memory.hands_off:
        return ()
    ledger = msgspec.structs.replace(memory.ledger, weights=in_force(sight))
    missing = _missing(sight, memory, refused)
    weights, more, less = _weighed(sight, ledger, memory.ledger.wanted)
    first = (*weights, *missing) if missing else (*more, *weights, *_unstamped(sight, more))
    last = tuple(step for step in (*less, *_unlisted(sight)) if not _is_going(sight, step))
    return _asked(sight, first, refused) or succession(sight, memory) or _asked(sight, last, refused)


def concern(sight: Sight, step: Step) -> str | None:
    """What of a version a step is about, so that its refusal need not hold up the others: its label where something is made for it, the
    object's name where that is there; or None."""
    match step:
        case Make(version) | Complete(version):
            return version.label
        case Scale(name, _) | Floor(name, _) | Count(name, _) if any(name in names_of(sight, each.label) for each in sight.listed):
            return name
        case _:
            return None


def names_of(sight: Sight, label: str) -> tuple[str, str]:
    """The names of the Deployments, or the CronJob, of a version."""
    return sight.name(label), standby_name(sight.place.slug, label)


def _asked(sight: Sight, steps: Steps, refused: Collection[str]) -> Steps:
    return tuple(step for step in steps if concern(sight, step) not in refused)


def has_arrived(sight: Sight) -> bool:
    """Whether what was wanted is in force, or a person's edit stands; where not, something is due once Pods are ready or gone."""
    memory = sight.memory
    if memory is None or memory.ledger.wanted is None or (memory.ledger.edited is not None and memory.hands_off):
        return True
    ledger, weights = memory.ledger, as_seen(sight)
    arrived = all(weights.get(label, 0) == weight for label, weight in ledger.goal.items())
    return arrived and not memory.replaced and has_its_sizes(sight, ledger)


def has_its_sizes(sight: Sight, ledger: Ledger) -> bool:
    """Whether each version has as many Pods as it is to end with for what the ledger wants, in an exchange; by shares of Pods, is to have
    no more than that."""
    wished = msgspec.structs.replace(sight, memory=msgspec.structs.replace(sight.memory or begun(sight), ledger=ledger))
    if by_shares(wished):
        return all(replicas(sight.serving(label)) <= size for label, size in pod_shares(wished).items())
    sizes = shares(ledger.goal, ledger.wanted, sight.full) if ledger.wanted is not None and ledger.wanted.in_place else {}
    return all(replicas(sight.serving(label)) == size for label, size in sizes.items())


def _weighed(sight: Sight, ledger: Ledger, wanted: TargetWanted) -> tuple[Steps, Steps, Steps]:
    """Steps for weight, for more Pods and for fewer."""
    if wanted.in_place:
        return exchange_steps(sight, ledger, wanted)
    if wanted.kind is ServiceKind.JOB:
        return run_steps(sight)
    return routed_steps(sight, ledger) if sight.routed else shared_steps(sight)


def remembered(sight: Sight, memory: Memory, now: float) -> Memory:
    """The memory with everything that time and people have made due: an expired lease, an edit, what is over and done."""
    there = strays(sight)
    new = _untold(there, memory)
    if new:
        edited = and_then(memory.ledger.edited, words(sight, new))
        ledger = msgspec.structs.replace(
            memory.ledger, goal=_listed_only(sight), weights=_listed_only(sight), lease_until=None, edited=edited
        )
        return msgspec.structs.replace(memory, ledger=ledger, accepted=there, hands_off=True)
    listed = {version.label for version in sight.listed}
    return msgspec.structs.replace(
        pruned(memory, listed),
        ledger=_honoured(sight, memory.ledger, now),
        made=tuple(each for each in memory.made if each in listed),
        adopted={each: name for each, name in memory.adopted.items() if each in listed or name in sight.workloads},
        accepted={name: there[name] for name in memory.accepted if name in there},
    )


def _honoured(sight: Sight, ledger: Ledger, now: float) -> Ledger:
    """The ledger with its lease honoured."""
    if ledger.lease_until is None or now < ledger.lease_until:
        return ledger
    seen = msgspec.structs.replace(ledger, weights=as_seen(sight))
    return msgspec.structs.replace(expire(seen, now, settled=has_its_sizes(sight, ledger)), weights=ledger.weights)


def _is_going(sight: Sight, step: Step) -> bool:
    """Whether what the step deletes is being deleted: somebody's finalizer may hold it for ever, and asking again is no use."""
    match step:
        case Remove(name):
            there = [sight.workloads[name]]
        case End(name):
            there = [run for run in sight.runs if name_of(run) == name]
        case _:
            return False
    return any("deletionTimestamp" in each["metadata"] for each in there)


def strays_anew(sight: Sight) -> bool:
    """Whether somebody seems to have touched what is ours since it was last told."""
    return sight.memory is not None and bool(_untold(strays(sight), sight.memory))


def _untold(there: dict[str, str], memory: Memory) -> dict[str, str]:
    """What strayed in a way that was not told yet; that one of two ways is over by now is nothing to tell."""
    known = {name: set(ways(said)) for name, said in memory.accepted.items()}
    return {name: said for name, said in there.items() if not known.get(name, set()).issuperset(ways(said))}


def written_off(sight: Sight, memory: Memory) -> Memory:
    """The memory for whoever goes over an edit: what was taken away is to be made again, of our own where it was adopted.

    So is what its owner has run another artifact since; where it is the same, its Service is to choose what runs now, once that is up.
    """
    gone = {name for name, said in memory.accepted.items() if said in (IS_GONE, IS_UNMARKED)}
    rolled_out = {each for each, name in memory.adopted.items() if name in sight.workloads and is_rolled_out(sight.workloads[name])}
    others = {v.label for v in sight.listed if v.label in rolled_out and misfit(sight.serving(v.label), sight.name(v.label), v) is not None}
    whole = tuple(each for each in memory.made if each not in others and gone.isdisjoint(objects_of(sight, each)))
    kept = {each: name for each, name in memory.adopted.items() if each not in others}
    adopted = {each: name for each, name in kept.items() if f"{sight.place.workload.manifest_kind} {name}" not in gone}
    replaced = {**memory.replaced, **{each: name for each, name in memory.adopted.items() if each not in adopted}}
    return msgspec.structs.replace(memory, made=whole, adopted=adopted, replaced=replaced, hands_off=False)


def _listed_only(sight: Sight) -> dict[str, int]:
    weights = in_force(sight) if sight.routed else by_replicas(sight)
    return {version.label: weights.get(version.label, 0) for version in sight.listed}


def _missing(sight: Sight, memory: Memory, refused: Collection[str]) -> Steps:
    """What is to be made before anything of it may run, and that it was made. What is parked and not there is not made for that."""
    unmade = [version for version in sight.listed if version.label not in memory.made and version.label not in refused]
    absent = [each for each in unmade if each.capacity is not Capacity.PARKED or sight.serving(each.label) is not None]
    if not absent:
        return tuple(Complete(each) for each in sight.listed if each.label in memory.made and _is_followed(sight, each.label))
    steps: list[Step] = [Make(version) if sight.serving(version.label) is None else Complete(version) for version in absent]
    whole = tuple(version.label for version in absent)
    return (*steps, Remember(msgspec.structs.replace(memory, made=(*memory.made, *whole))))


def _is_followed(sight: Sight, label: str) -> bool:
    """Whether the owner of an adopted version has it run otherwise by now, and that has come up."""
    there = sight.serving(label)
    return there is not None and is_rolled_out(there) and not is_still_rolling_out(there)


def _unstamped(sight: Sight, scaled: Steps) -> Steps:
    """Stamps for what carries that of an earlier memory, so that nobody who read that can write any more."""
    stamped = {step.deployment for step in scaled if isinstance(step, Scale)}
    return tuple(
        Scale(name, None)
        for name, deployment in sorted(sight.workloads.items())
        if name not in stamped and annotation(deployment, STAMP) != sight.revision
    )


def _unlisted(sight: Sight) -> Steps:
    """Versions that the last command does not list and that have no weight; what was adopted is its owner's, and goes back to it.

    The Deployment itself says that: whoever was killed between labelling it and remembering that left no other word of it. What was made
    by us says so by its labels too, where somebody took its annotations away.
    """
    listed = {version_slug(version.label) for version in sight.listed}
    weighty = {version_slug(label) for label, weight in in_force(sight).items() if weight}
    return tuple(
        Return(name) if annotation(deployment, ADOPTED_AT) is not None else Remove(name)
        for name, deployment in sorted(sight.workloads.items())
        if (annotation(deployment, LABEL) is not None or label(deployment, MANAGED_BY) == MANAGER)
        and (of := label(deployment, VERSION)) not in listed
        and (of not in weighty or label(deployment, ROLE) == STANDBY)
        and (sight.memory is None or name not in sight.memory.replaced.values())
    )
