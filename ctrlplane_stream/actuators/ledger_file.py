"""Ledgers on disk: one JSON file a target, replaced whole, so that a reader finds the old one or the new one."""

import os
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from ctrlplane_stream.actuators.ledger import Ledger
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.wire.json_words import WrongJson, read_json

T = TypeVar("T")


class LedgerUnreadable(RuntimeError):
    """A file is damaged; the text names it. Nothing is guessed: a lost cursor would let old commands in."""


def read_file(path: Path, word: type[T], anew: str) -> T:
    """The word that a file holds; ``anew`` says what begins anew without it. Raises LedgerUnreadable, and OSError."""
    try:
        return read_json(path.read_bytes(), word)
    except WrongJson as error:
        raise LedgerUnreadable(f"{path}: {error}; restore it, or remove it to begin {anew} anew") from error


class LedgerFolder:
    """A folder of ledgers. One process at a time may write into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[Target, Ledger]:
        """Every ledger in the folder, in the order of targets. Raises LedgerUnreadable."""
        found = {}
        for path in self._folder.glob("*/*.json"):
            target = Target(unquote(path.parent.name), unquote(path.name.removesuffix(".json")))
            found[target] = read_file(path, Ledger, str(target))
        return dict(sorted(found.items()))

    def save(self, target: Target, ledger: Ledger) -> None:
        """Replace the target's ledger; it is on disk when this returns."""
        path = self._folder / quote(target.environment, safe="") / f"{quote(target.service, safe='')}.json"
        path.parent.mkdir(exist_ok=True)
        scratch = path.with_suffix(".tmp")
        with scratch.open("wb") as file:
            file.write(msgspec.json.encode(ledger))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
