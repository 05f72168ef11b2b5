"""A number with its noun, as sentences have it."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 edge``, ``2 edges``; ``plural`` where that is not the noun with an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
