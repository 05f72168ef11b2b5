"""JSON that somebody else wrote, or that a disk kept, read in one way: whatever is wrong with it is one error.

Its decoder has three kinds of them: for what is no JSON or no such word, for text that is no UTF-8, and for values in values until the
stack ends. Who catches the first alone is ended by a body of opening brackets.
"""

from typing import TypeVar

import msgspec

T = TypeVar("T")

_SHOWN = 200


class WrongJson(ValueError):
    """The bytes do not hold what they should; the text says why, in at most 200 characters."""


def read_json(raw: bytes | str | msgspec.Raw, word: type[T] | msgspec.json.Decoder[T]) -> T:
    """The word that JSON holds; a decoder, where one is at hand, spares making one. Raises WrongJson, and nothing else."""
    try:
        return word.decode(raw) if isinstance(word, msgspec.json.Decoder) else msgspec.json.decode(raw, type=word)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WrongJson(str(error)[:_SHOWN]) from None
