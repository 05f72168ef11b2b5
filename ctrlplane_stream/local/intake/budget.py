"""Bytes in flight: how memory stays bounded whatever is sent and however slow the broker is.

A request reserves what it holds before it holds it, and gives it back when the broker has acknowledged or refused the
last record with a part of it, not when its sender was answered: what Kafka's client still buffers counts too. Each
request counts at least ``FLOOR_BYTES``, so that the number of requests is bounded as well.
"""

FLOOR_BYTES = 16 * 1024


class Budget:
    """At most ``limit`` bytes at any time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def reserve(self) -> "Reservation | None":
        """A reservation of the floor, or None where not even that is left."""
        reservation = Reservation(self)
        return reservation if reservation.grow_to(1) else None

    def take(self, size: int) -> bool:
        """Whether there was room for so many more bytes; then they are taken."""
        if self.used + size > self._limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """So many bytes are free again."""
        self.used -= size


class Reservation:
    """One request's share of the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def grow_to(self, size: int) -> bool:
        """Hold at least ``size`` bytes; False where the budget has no room, and nothing changes."""
        more = max(size, FLOOR_BYTES) - self._size
        if more > 0:
            if not self._budget.take(more):
                return False
            self._size += more
        return True

    def release(self) -> None:
        """Give everything back. Harmless when repeated."""
        self._budget.give_back(self._size)
        self._size = 0
