"""What a check-up says: one finding a line, each in order or with the remedy."""

from enum import StrEnum

import msgspec


class Health(StrEnum):
    """How serious a finding is: in order, worth knowing, or wrong."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True):
    """One line of a check-up. ``remedy`` is what to do, empty where nothing is."""

    check: str
    health: Health
    what: str
    remedy: str = ""

    def line(self) -> str:
        """The finding as it is printed."""
        return f"{self.health:<5}  {self.check}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


def ok(check: str, what: str) -> Finding:
    """In order."""
    return Finding(check, Health.OK, what)


def note(check: str, what: str, remedy: str) -> Finding:
    """Worth knowing, and no failure."""
    return Finding(check, Health.NOTE, what, remedy)


def wrong(check: str, what: str, remedy: str) -> Finding:
    """Not as it must be."""
    return Finding(check, Health.WRONG, what, remedy)
