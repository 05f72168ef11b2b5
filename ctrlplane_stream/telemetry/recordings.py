"""Recorded OTLP, as the Collector's file exporter writes it, record by record; what a file holds is told by its content.

Known forms: JSON lines; ``proto``, i.e. a 4-byte big-endian length before every request; gzip or zstd of the whole file, or
of every length-prefixed request, as the exporter compresses; a single JSON or protobuf request or TracesData.
"""

import gzip
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec
import zstandard

from ctrlplane_stream.wire.json_words import WrongJson, read_json
from ctrlplane_stream.wire.otlp import Unreadable, is_json

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((first,)) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
_BROKEN = (OSError, EOFError, zstandard.ZstdError)
_MOST_BYTES = 1 << 29
"""Of a request. Four characters of text, taken for a length, are more."""
_PIECE_BYTES = 1 << 14
_NEITHER = Unreadable("neither JSON nor length-prefixed requests")
_NO_LINE = Unreadable("not an OTLP/JSON trace request: the line does not begin with a brace")


class Recorded(msgspec.Struct, frozen=True):
    """One record of a file: its number from 1, its request (either encoding) or why there is none, and the bytes read so far."""

    number: int
    value: bytes | Unreadable
    position: int


def read(path: Path) -> Iterator[Recorded]:
    """The records of a file, in order. A broken end is a last, unreadable record. Raises OSError where the file cannot be opened."""
    with _opened(path) as file:
        stream: io.BufferedReader[_Unpacked] = io.BufferedReader(_Unpacked(_unpacked(file)))
        number = 0
        try:
            for number, value in enumerate(_values(stream), start=1):
                yield Recorded(number, value, file.tell())
        except _BROKEN as error:
            yield Recorded(number + 1, Unreadable(f"the file breaks off: {error}"), file.tell())


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy of what a pipe holds: a form is told by the beginning, and how far one has come by the place."""
    with path.open("rb") as file:
        if file.seekable():
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield copy


class _Unpacked(io.RawIOBase):
    """Pieces of bytes as a raw stream, so that they can be buffered and peeked into."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        content = self._rest[: len(buffer)]
        buffer[: len(content)] = content
        self._rest = self._rest[len(content) :]
        return len(content)


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """The content piece by piece, so that what stands before a broken end is given before the error is raised."""
    magic = file.read(4)
    file.seek(0)
    if magic.startswith((_ZSTD, *_ZSTD_SKIPPABLE)):
        return _zstd_pieces(file)
    if magic.startswith(_GZIP):
        unpacked = gzip.GzipFile(fileobj=file)
        return iter(lambda: unpacked.read1(_PIECE_BYTES), b"")
    return iter(lambda: file.read(_PIECE_BYTES), b"")


def _zstd_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Frame by frame, since zstandard's own stream takes a frame that is cut short for one that ends there. Raises EOFError then."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    while content := file.read(_PIECE_BYTES):
        while content:
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(content)
            content = frame.unused_data
    if not frame.eof:
        raise EOFError("a zstd frame ended before its end")


def _values(stream: "io.BufferedReader[_Unpacked]") -> Iterator[bytes | Unreadable]:
    beginning = stream.peek(64)
    if not beginning:
        return iter(())
    if is_json(beginning) or _is_text(beginning):
        return _json_values(stream)
    if beginning[:1] == b"\n":
        return iter((stream.read(),))
    return _prefixed_values(stream)


def _is_text(beginning: bytes) -> bool:
    """Whether a file that does not begin with JSON may be lines of it, the first of them damaged."""
    return int.from_bytes(beginning[:4], "big") > _MOST_BYTES and not any(byte < 32 and byte not in b"\t\r\n" for byte in beginning[:64])


def _json_values(stream: "io.BufferedReader[_Unpacked]") -> Iterator[bytes | Unreadable]:
    """JSON lines, or one document over many lines: the latter where no line is a request by itself."""
    begun: list[bytes] = []
    for line in stream:
        begun.append(line)
        if _is_request(line):
            break
    else:
        whole = b"".join(begun)
        yield whole if is_json(whole) else _NEITHER
        return
    for lines in (begun, stream):
        for line in lines:
            if line.strip():
                yield line if is_json(line) else _NO_LINE


def _is_request(line: bytes) -> bool:
    """Whether a line is a whole document with one of OTLP's names: in a document over many lines its parts may be whole too."""
    if not is_json(line):
        return False
    try:
        document = read_json(line.removeprefix(b"\xef\xbb\xbf"), dict[str, object])
    except WrongJson:
        return False
    return any(name == "batches" or name.startswith("resource") for name in document)


def _prefixed_values(stream: "io.BufferedReader[_Unpacked]") -> Iterator[bytes | Unreadable]:
    while prefix := stream.read(4):
        length = int.from_bytes(prefix, "big")
        if len(prefix) < 4 or length > _MOST_BYTES:
            yield _NEITHER if len(prefix) == 4 else Unreadable("the file breaks off in a length")
            return
        value = stream.read(length)
        if len(value) < length:
            yield Unreadable(f"the file breaks off: a request of {length} bytes has only {len(value)}")
            return
        yield _unpacked_value(value)


def _unpacked_value(value: bytes) -> bytes | Unreadable:
    try:
        if value.startswith(_GZIP):
            return gzip.decompress(value)
        if value.startswith((_ZSTD, *_ZSTD_SKIPPABLE)):
            return b"".join(_zstd_pieces(io.BytesIO(value)))
    except _BROKEN as error:
        return Unreadable(f"a compressed request is broken: {error}")
    return value
