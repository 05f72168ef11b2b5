"""What a new catalog changes, in a few words: which environments, services and policies come, go or become other ones."""

from collections.abc import Mapping

from ctrlplane_stream.model.catalog import Catalog


def changes(before: Catalog | None, after: Catalog) -> list[str]:
    """A line for each kind of thing that changes, such as ``services: shop/cart added, shop/web changed``; the first catalog adds all."""
    old = before or Catalog({}, {})
    kinds: tuple[tuple[str, Mapping[str, object], Mapping[str, object]], ...] = (
        ("environments", old.environments, after.environments),
        ("services", old.services, after.services),
        ("policies", old.policies, after.policies),
    )
    return [f"{kind}: {said}" for kind, was, now in kinds if (said := _changed(was, now))]


def _changed(was: Mapping[str, object], now: Mapping[str, object]) -> str:
    added = [name for name in now if name not in was]
    removed = [name for name in was if name not in now]
    other = [name for name in now if name in was and now[name] != was[name]]
    kinds = ((added, "added"), (removed, "removed"), (other, "changed"))
    return "; ".join(f"{', '.join(sorted(names))} {how}" for names, how in kinds if names)
