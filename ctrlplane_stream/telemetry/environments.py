"""Which environments are heard of: a bounded memory in which who is silent makes room."""

from collections.abc import Collection, Iterable


class Environments:
    """At most ``most`` environments with when they were heard of last, in whatever unit the caller counts."""

    def __init__(self, most: int, heard: Iterable[tuple[str, int]] = ()) -> None:
        self._most = most
        self._heard = dict(heard)

    @property
    def heard(self) -> tuple[tuple[str, int], ...]:
        """Each with its time, by name."""
        return tuple(sorted(self._heard.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(sorted(self._heard))

    def refuses(self, name: str) -> bool:
        """Whether one is not known since there is no room for it."""
        return name not in self._heard and len(self._heard) >= self._most

    def hear(self, names: Iterable[str], time: int, silent_before: int, kept: Collection[str] = ()) -> None:
        """Some were heard of. Where there are too many, new ones take the places of those silent longest, of which nothing was heard since
        ``silent_before`` and which are not to be ``kept``; those that find none are not known: a flood of names drives out nobody."""
        new = []
        for name in names:
            if name in self._heard:
                self._heard[name] = max(self._heard[name], time)
            else:
                new.append(name)
        too_many = len(self._heard) + len(new) - self._most
        if too_many > 0:
            silent = sorted((at, name) for name, at in self._heard.items() if at < silent_before and name not in kept)
            for _, name in silent[:too_many]:
                del self._heard[name]
        for name in new[: self._most - len(self._heard)]:
            self._heard[name] = time

    def forget(self, before: int, kept: Collection[str] = ()) -> None:
        """Drop those that were not heard of since ``before``, but for ``kept``."""
        for name in [name for name, at in self._heard.items() if at < before and name not in kept]:
            del self._heard[name]
