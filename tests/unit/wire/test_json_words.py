"""Whatever is wrong with JSON is one error."""

from typing import Any

import msgspec
import pytest

from ctrlplane_stream.wire.json_words import WrongJson, read_json


class Word(msgspec.Struct):
    name: str = ""
    more: Any = None


@pytest.mark.parametrize("word", [Word, msgspec.json.Decoder(Word)], ids=["a word", "its decoder"])
@pytest.mark.parametrize("raw", [b'{"name": "it", "else": 1}', '{"name": "it"}', msgspec.Raw(b'{"name": "it"}')])
def test_a_word_is_read(raw: bytes | str | msgspec.Raw, word: type[Word] | msgspec.json.Decoder[Word]) -> None:
    assert read_json(raw, word) == Word("it")


@pytest.mark.parametrize("word", [Word, msgspec.json.Decoder(Word)], ids=["a word", "its decoder"])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b'{"name": 1}',
        b'{"name": "\xff"}',
        b'{"more": ' + b"[" * 100_000,
        b'{"else": ' * 100_000,
        b'{"more": ' + b"9" * 5_000 + b"}",
        b'{"name": "it"} and more',
        '{"name": "\udcff"}',
    ],
    ids=["nothing", "no JSON", "another word", "no UTF-8", "too deep", "too deep, unasked", "a huge number", "more", "a text's own bytes"],
)
def test_what_is_wrong_is_said_in_few_words(raw: bytes | str, word: type[Word] | msgspec.json.Decoder[Word]) -> None:
    with pytest.raises(WrongJson) as caught:
        read_json(raw, word)
    assert 0 < len(str(caught.value)) <= 200
