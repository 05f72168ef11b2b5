"""Short ways to the words of the port."""

from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, ObservedVersion, TargetObserved, TargetWanted, WantedVersion

TARGET = Target("production", "shop/cart")


def artifact(number: int) -> Artifact:
    return Artifact(TARGET.service, "registry.example/cart", f"sha256:{number:064x}")


def wanted(stable: str | None = "#1", lease: float | None = 300.0, kind: ServiceKind = ServiceKind.ROUTED, **weights: int) -> TargetWanted:
    """``wanted(v1=75, v2=25)``."""
    versions = tuple(
        WantedVersion(f"#{label[1:]}", artifact(int(label[1:])), {}, Capacity.FULL, weight) for label, weight in weights.items()
    )
    return TargetWanted(TARGET, kind, versions, stable, lease)


def command(sequence: int, want: TargetWanted, verb: Verb = Verb.SHIFT, over_edit: str | None = None) -> Command:
    return Command(f"c{sequence}", verb, TARGET, sequence, want, "a test", over_edit=over_edit)


def observed(failure: str | None = None, ready: int = 1, **weights: int) -> TargetObserved:
    """``observed(v1=75, v2=25)``; ``ready`` and ``failure`` are those of the last version."""
    last = list(weights)[-1] if weights else ""
    versions = tuple(
        ObservedVersion(
            f"#{label[1:]}",
            artifact(int(label[1:])).digest,
            1,
            ready if label == last else 1,
            weight,
            failure if label == last else None,
        )
        for label, weight in weights.items()
    )
    return TargetObserved(TARGET, versions)
