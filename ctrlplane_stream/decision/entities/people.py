"""What people said that lasts."""

import msgspec


class FreezeEntry(msgspec.Struct, frozen=True):
    """Nothing starts or steps forward in this scope. ``service`` None: the whole environment."""

    id: str
    service: str | None
    who: str
    why: str
    since_ms: int
    until_ms: int | None

    def scope(self, environment: str) -> str:
        """Its scope as it is typed."""
        return environment if self.service is None else f"{environment}:{self.service}"


class OverrideEntry(msgspec.Struct, frozen=True):
    """An override that was carried out, so that its repetition is known."""

    verb: str
    who: str
    why: str
    at_ms: int
    result: str
