"""Actuators by the name that the catalog gives them: ours, and those that other packages bring as entry points.

A package registers ``name = "module:factory"`` in the entry-point group ``ctrlplane_stream.actuators``; the factory takes
``Settings`` and returns an ``Actuator``. It is loaded when a target first needs it, and a name of ours cannot be taken.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from ctrlplane_stream.actuators.dry_run import DryRun
from ctrlplane_stream.actuators.port import Actuator
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.settings import Settings

GROUP = "ctrlplane_stream.actuators"

Factory = Callable[[Settings], Actuator]

_OURS: dict[str, Factory] = {
    DryRun.name: lambda settings: DryRun(),
    ProcessHost.name: lambda settings: ProcessHost(settings.host_url),
    "kubernetes": lambda settings: _kubernetes(settings),
    "gitops": lambda settings: _gitops(settings),
}


def _kubernetes(settings: Settings) -> Actuator:
    """Imported when a target first needs it: the official client is slow to import, and most who roll out here have no cluster."""
    from ctrlplane_stream.actuators.kubernetes.composition import placed_kubernetes
    from ctrlplane_stream.actuators.kubernetes.placement import PlacementError

    try:
        return placed_kubernetes(settings)
    except PlacementError as error:
        raise UnmadeActuator(str(error)) from error


def _gitops(settings: Settings) -> Actuator:
    """Imported when a target first needs it, as the library for git is."""
    from ctrlplane_stream.actuators.gitops.composition import placed_gitops
    from ctrlplane_stream.actuators.gitops.placement import GitPlacementError
    from ctrlplane_stream.actuators.kubernetes.placement import PlacementError

    try:
        return placed_gitops(settings)
    except (GitPlacementError, PlacementError) as error:
        raise UnmadeActuator(str(error)) from error


class UnknownActuator(LookupError):
    """An actuator is named that nothing here provides; the text says which there are."""


class UnmadeActuator(UnknownActuator):
    """There is one of that name, and it cannot be made; the text says why."""


def known_actuators() -> tuple[str, ...]:
    """The names that can be used, sorted."""
    return tuple(sorted({*_OURS, *(point.name for point in entry_points(group=GROUP))}))


def actuator_named(name: str, settings: Settings) -> Actuator:
    """A new actuator of that name. Raises UnknownActuator, or UnmadeActuator of it."""
    factory = _OURS.get(name) or _from_plugin(name)
    if factory is None:
        raise UnknownActuator(
            f"no actuator is called {name!r}: there are {', '.join(known_actuators())}; install the package that brings it"
        )
    return factory(settings)


def _from_plugin(name: str) -> Factory | None:
    for point in entry_points(group=GROUP, name=name):
        return lambda settings: _plugged(point, settings)
    return None


def _plugged(point: EntryPoint, settings: Settings) -> Actuator:
    try:
        made: Actuator = point.load()(settings)
    except Exception as error:  # somebody else's code may raise anything, and the targets of other actuators go on
        why = f"the actuator {point.name!r} ({point.value}) cannot be made: {error!r}; mend the package that brings it"
        raise UnmadeActuator(why) from error
    return made
