"""The catalog in force is the same whatever the broker has forgotten of the topic by then."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash
from ctrlplane_stream.wire.editions import Editions, Place

Log = list[tuple[Place, bytes | None]]

_LEGACY = (0, b"catalog")
_NAMES = ("cart", "mailer", "till")


def _catalog(name: str) -> Catalog:
    service = ServiceEntry((f"registry.example/{name}",), {"production": ServiceOverride()})
    return Catalog({"production": EnvironmentEntry()}, {name: service})


def _value(name: str, based_on: str | None) -> bytes:
    made = _catalog(name)
    return msgspec.json.encode(CatalogRecord(made, catalog_hash(made), based_on, "tests"))


def _read(log: Log) -> Editions:
    editions = Editions()
    for at, (place, value) in enumerate(log):
        editions.take(place, value, at)
    return editions


def _in_force(log: Log) -> str | None:
    current = _read(log).in_force
    return current.record.hash if current is not None else None


def _compacted(log: Log, upto: int) -> Log:
    """What the broker holds once it has compacted the first so many records: the last of each key, and no tombstones any more."""
    last = {place: at for at, (place, _) in enumerate(log[:upto])}
    return [(place, value) for at, (place, value) in enumerate(log[:upto]) if last[place] == at and value is not None] + log[upto:]


_SELDOM = st.sampled_from((False, False, False, True))
_STEPS = st.lists(st.tuples(st.sampled_from(_NAMES), st.integers(0, 2), st.booleans(), _SELDOM), min_size=1, max_size=12)


@given(_STEPS)
@settings(max_examples=400)
def test_what_is_in_force_outlives_compaction(steps: list[tuple[str, int, bool, bool]]) -> None:
    """People apply, some on what was in force so many records ago, some without tidying up, some write what nobody can read."""
    log: Log = []
    for number, (name, behind, tidies, garbage) in enumerate(steps):
        based_on = _in_force(log[: len(log) - behind])
        log.append(((0, f"key-{number}".encode()), b"garbage" if garbage else _value(name, based_on)))
        if tidies:
            log += [(place, None) for place in _read(log).needless]
    for upto in range(len(log) + 1):
        assert _in_force(_compacted(log, upto)) == _in_force(log)


def test_one_key_for_all_kept_what_was_refused() -> None:
    """Why each has a key of its own; and what earlier builds left is put right by who applies next."""
    first, second = catalog_hash(_catalog("cart")), catalog_hash(_catalog("till"))
    log: Log = [(_LEGACY, _value("cart", None)), (_LEGACY, _value("till", first)), (_LEGACY, _value("mailer", first))]
    assert _in_force(log) == second
    assert _in_force(_compacted(log, len(log))) != second
    log.append(((0, b"one of its own"), _value("cart", second)))
    log += [(place, None) for place in _read(log).needless]
    assert _in_force(_compacted(log, len(log))) == _in_force(log) == first


def test_an_edition_is_taken_off_in_an_order_that_may_stop_anywhere() -> None:
    """Refused ones before what they were refused for: the other way round one of them would be read first, and accepted."""
    first, second = catalog_hash(_catalog("cart")), catalog_hash(_catalog("till"))
    log: Log = [((0, b"a"), _value("cart", None)), ((0, b"b"), _value("till", first)), ((0, b"c"), _value("mailer", first))]
    log.append(((0, b"d"), _value("cart", second)))
    assert _read(log).needless == [(0, b"c"), (0, b"a"), (0, b"b")]
    for many in range(4):
        taken_off = log + [(place, None) for place in _read(log).needless[:many]]
        assert _in_force(_compacted(taken_off, len(taken_off))) == first
