"""The judge role: windows to the dependency graph, and to verdicts about the steps under way.

Order of writing, each awaited: facts of the graph, then the graph's own records; the judge's records, the head of them last, then the
verdicts that follow from them. Whatever a crash cuts short is read and written again, and known as a repetition by whoever reads it.

An environment that cannot be judged, or whose records cannot be written, is set aside and says so; the others go on. What comes for it is
read again by the process that is started next.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ctrlplane_stream.model.catalog import EnvironmentEntry
from ctrlplane_stream.model.decisions import Decided
from ctrlplane_stream.model.facts import Fact, FactRecord, Origin
from ctrlplane_stream.model.verdicts import Verdict
from ctrlplane_stream.model.windows import WindowRecord
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.catalog_book import CatalogBook
from ctrlplane_stream.stream.decision_log import TOPIC, Fence, admitted, read_decision
from ctrlplane_stream.stream.duty import Duty, log
from ctrlplane_stream.stream.ingest import FACTS, fact_letter
from ctrlplane_stream.stream.judge_records import Docket, JudgeRecord, JudgeRecords, environment_of, judge_record
from ctrlplane_stream.stream.judging import Bench, Timing
from ctrlplane_stream.stream.log_reader import KafkaLogReader
from ctrlplane_stream.stream.metrics import Product
from ctrlplane_stream.stream.ownership import wall_clock_ms
from ctrlplane_stream.stream.ports import Letter, Record
from ctrlplane_stream.stream.strangers import MOST, SILENT_MS, leaving, surplus
from ctrlplane_stream.stream.window_line import Place
from ctrlplane_stream.telemetry.table import DependencyTable, TableSettings
from ctrlplane_stream.telemetry.table_records import TableRecord, table_environment, table_record
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import partition_of
from ctrlplane_stream.wire.topics import topic_specs
from ctrlplane_stream.wire.verdicts import write_verdict
from ctrlplane_stream.wire.windows import read_window

WINDOWS, TABLE, STATE, VERDICTS = "telemetry-windows", "dependency-table", "judge-state", "health-verdicts"
SOURCE = "ctrlplane-stream/judge"
_LATE_SECONDS = 5.0
_CATALOG_SECONDS = 15.0
_DAY_SECONDS = 86_400
_REMEMBERED = 2
"""How many times as long as an edge that is not used a silent service is remembered: what comes once a week comes late at times."""
_ENVELOPE_BYTES = 1_000
"""Of what a topic takes, left for the key and what Kafka puts around a record."""


class Court(msgspec.Struct):
    """One environment: its dependency table, its bench with the records of it, and why it was set aside, if it was."""

    table: DependencyTable
    bench: Bench
    records: JudgeRecords
    whole_ms: int
    """When the last window was whole that came of it, or when it was first heard of; by the log's clock, in ms since 1970."""
    aside: str | None = None

    @property
    def restart(self) -> int:
        """The ``telemetry-windows`` offset that both can go on from."""
        return min(self.table.restart_offset, self.bench.line.place.restart)


class Judge(Duty):
    """The environments on the partitions that are ours."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "judge")
        self._timing = Timing(settings.partitions, settings.window_seconds, settings.lateness_seconds)
        self._most_bytes = {spec.name: spec.max_message_bytes - _ENVELOPE_BYTES for spec in topic_specs()}
        self._courts: dict[int, dict[str, Court]] = {}
        self._fences: dict[int, Fence] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._heard_ms: dict[int, int] = {}
        self._turned_away: dict[int, int] = {}
        self._taking = asyncio.Lock()
        catalog_reader = KafkaLogReader(settings)
        self.at_end(catalog_reader.close)
        self._catalog = CatalogBook(catalog_reader, settings.partitions)
        self.consume(WINDOWS, self._take_windows)
        self.consume(TOPIC, self._take_decisions)
        self.every(_LATE_SECONDS, self._say_late)
        self.every(_CATALOG_SECONDS, self._read_catalog)
        self.app.positions = self._positions
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    # What is read.

    async def _take_windows(self, records: list[Record]) -> None:
        facts: list[Letter] = []
        verdicts: dict[str, list[Letter]] = {}
        touched: dict[str, Court] = {}
        for found in records:
            record = read_window(found.value)
            if isinstance(record, Unreadable):
                facts += await self.refuse(found, record)
                continue
            self._heard_ms[found.partition] = max(found.at_ms, self._heard_ms.get(found.partition, 0))
            court = await self._court_of_window(found, record.environment, touched)
            if court is None:
                continue
            if court.aside is None:
                try:
                    facts += self._facts(found, record.environment, self._graph(court, found.offset, record))
                    for closed in court.bench.line.feed(found.offset, record):
                        touched[record.environment] = court
                        court.whole_ms = max(court.whole_ms, found.at_ms)
                        told = [self._verdict(verdict, f"{closed.window}") for verdict in court.bench.judge(closed)]
                        verdicts.setdefault(record.environment, []).extend(told)
                except Exception as error:  # pure code: it would fail at this record again, in this process or the next
                    self._set_aside(court, f"{type(error).__name__}: {error}", error)
            self._next[self.settings.topic(WINDOWS), found.partition] = found.offset + 1
        await self._write(facts, touched, verdicts)

    def _graph(self, court: Court, offset: int, record: WindowRecord) -> Sequence[Fact]:
        court.table.in_motion = court.bench.in_motion
        return court.table.feed(offset, record)

    def _set_aside(self, court: Court, why: str, error: BaseException | None = None) -> None:
        """Judge the environment no more, and write nothing of it: whoever is started next begins where it stood."""
        if isinstance(error, MemoryError):
            raise error
        court.aside = why
        log.critical("%s is not judged any more: %s", court.table.environment, why, exc_info=error)

    async def _write(self, facts: list[Letter], touched: Mapping[str, Court], verdicts: Mapping[str, list[Letter]]) -> None:
        tables: list[Letter] = []
        bodies: list[Letter] = []
        heads: list[Letter] = []
        for environment, court in touched.items():
            if court.aside is not None:
                continue
            table = self._letters(environment, TABLE, court.table.dirty())
            body, head = (self._letters(environment, STATE, values) for values in court.records.changed(court.bench.docket))
            if (large := self._too_large([*table, *body, *head])) is not None:
                self._set_aside(court, large)
                continue
            tables, bodies, heads = tables + table, bodies + body, heads + head
        told = [letter for environment, letters in verdicts.items() if touched[environment].aside is None for letter in letters]
        for letters in (facts, tables, bodies, heads, told):
            await self.outbox.send(letters)
        self.metrics.produced(Product.FACTS, sum(letter.topic == FACTS for letter in facts))
        self.metrics.produced(Product.VERDICTS, len(told))

    def _too_large(self, letters: Sequence[Letter]) -> str | None:
        """Of which record the broker would take no more, in words; None where it takes all."""
        for letter in letters:
            size, most = len(letter.value or b""), self._most_bytes[letter.topic]
            if size > most:
                return f"record {(letter.key or b'').decode()} of {letter.topic} has {size} bytes, and the topic takes {most}"
        return None

    async def _take_decisions(self, records: list[Record]) -> None:
        for found in records:
            record = read_decision(found.value)
            fence = self._fences.get(found.partition)
            if isinstance(record, Unreadable) or fence is None:
                continue
            if fence.admits(found.offset, record) and isinstance(record, Decided):
                self._hear(found.partition, record)
            self._next[self.settings.topic(TOPIC), found.partition] = found.offset + 1

    def _hear(self, partition: int, decided: Decided) -> None:
        courts, environment = self._courts.get(partition, {}), decided.environment
        rolls_out = any(name.startswith("rollout/") for name in decided.delta)
        if environment not in courts and not (decided.outputs or rolls_out or self._is_in_catalog(environment)):
            return  # Of a stranger's graph the engine decides, too.
        court = self._court(partition, environment, decided.at_ms)
        if court is not None:
            court.bench.note(decided.delta, decided.at_ms)
            for output in decided.outputs:
                court.bench.hear(output)

    async def _say_late(self) -> None:
        now_ms = wall_clock_ms()
        late = [v for courts in self._courts.values() for court in courts.values() for v in _late(court, now_ms)]
        await self.outbox.send([self._verdict(verdict, f"late-{now_ms}") for verdict in late])

    # What is written.

    def _facts(self, found: Record, environment: str, facts: Sequence[Fact]) -> list[Letter]:
        origins = (Origin(found.topic, found.partition, found.offset, index, found.at_ms) for index in range(len(facts)))
        return [fact_letter(FactRecord(environment, fact, o), self.settings.partitions) for fact, o in zip(facts, origins, strict=True)]

    def _verdict(self, verdict: Verdict, window: str) -> Letter:
        name = f"{verdict.rollout}/{verdict.step}/{verdict.attempt}/{window}"
        place = partition_of(verdict.environment, self.settings.partitions)
        return Letter(VERDICTS, place, verdict.environment.encode(), write_verdict(name, SOURCE, verdict))

    def _letters(self, environment: str, topic: str, values: Iterable[tuple[str, bytes | None]]) -> list[Letter]:
        place = partition_of(environment, self.settings.partitions)
        return [Letter(topic, place, key.encode(), value) for key, value in values]

    # Taking partitions.

    def _court(self, partition: int, environment: str, at_ms: int) -> Court | None:
        """The environment's court, a new one at first sight; None where the partition is not ours or the record lies on a wrong one."""
        courts = self._courts.get(partition)
        if courts is None or partition_of(environment, self.settings.partitions) != partition:
            return None
        if environment not in courts:
            courts[environment] = self._new_court(environment, {}, {}, at_ms)
        return courts[environment]

    async def _court_of_window(self, found: Record, environment: str, touched: dict[str, Court]) -> Court | None:
        """As ``_court``; None besides for a stranger for whom there is no room. Who makes room is forgotten, and ``touched`` no more."""
        courts = self._courts.get(found.partition)
        if courts is not None and environment not in courts and not self._is_in_catalog(environment):
            strangers = self._strangers(found.partition)
            if (goes := leaving(strangers, found.at_ms)) is not None:
                touched.pop(goes, None)
                await self._forget(found.partition, [goes])
            elif len(strangers) >= MOST:
                self._turn_away(found, environment)
                return None
        return self._court(found.partition, environment, found.at_ms)

    def _is_in_catalog(self, environment: str) -> bool:
        catalog = self._catalog.catalog
        return catalog is not None and environment in catalog.environments

    def _strangers(self, partition: int) -> dict[str, int]:
        courts = self._courts.get(partition, {}).items()
        return {name: c.whole_ms for name, c in courts if not self._is_in_catalog(name) and not c.bench.is_busy}

    def _turn_away(self, found: Record, environment: str) -> None:
        self.metrics.turned_away()
        if found.at_ms - self._turned_away.get(found.partition, 0) >= SILENT_MS:
            self._turned_away[found.partition] = found.at_ms
            log.warning(
                "%s is not looked at: windows of %d environments came to this partition within the hour that no catalog names. Add it to "
                "the catalog if it is one, or give the client that writes ever new names as deployment.environment.name a name that stays",
                environment,
                MOST,
            )

    async def _forget(self, partition: int, names: Sequence[str]) -> None:
        """Take strangers out of memory and off the topics, for as long as the partition is ours."""
        for name in names:
            court = self._courts.get(partition, {}).pop(name, None)
            if court is None:
                return
            await self.outbox.send(self._letters(name, TABLE, ((key, None) for key in court.table.names())))
            await self.outbox.send(self._letters(name, STATE, ((key, None) for key in court.records.names())))

    def _new_court(self, environment: str, graph: Mapping[str, TableRecord], state: Mapping[str, JudgeRecord], at_ms: int) -> Court:
        told = TableSettings(partitions=self.settings.partitions, window_seconds=self.settings.window_seconds)
        made, records = DependencyTable(environment, told), JudgeRecords(environment)
        made.restore(graph.items())
        docket = records.restore(state)
        if docket is None and state:  # unreadable, or cut short at the very first: begin where the table stands, not with all windows
            docket = Docket(Place(made.restart_offset))
        court = Court(made, Bench(self._timing, docket), records, at_ms)
        self._told_to_forget(court)
        return court

    def _told_to_forget(self, court: Court) -> None:
        windows = self._fade_windows(court.table.environment)
        court.table.fade_windows = windows
        court.bench.remembered_seconds = _REMEMBERED * windows * self.settings.window_seconds

    def _fade_windows(self, environment: str) -> int:
        """How many windows of its caller an edge lives unused in an environment, by the catalog in force."""
        catalog = self._catalog.catalog
        entry = catalog.environments.get(environment) if catalog is not None else None
        days = (entry or EnvironmentEntry()).days_until_an_edge_fades
        return max(1, round(days * _DAY_SECONDS / self.settings.window_seconds))

    async def _read_catalog(self) -> None:
        """Take over how long edges live, and services are remembered, where the catalog says otherwise by now."""
        async with self._taking:
            await self._catalog.refresh()
        for court in (court for courts in self._courts.values() for court in courts.values()):
            self._told_to_forget(court)
        for partition, heard_ms in tuple(self._heard_ms.items()):
            await self._forget(partition, self._never_whole(partition, heard_ms))

    def _never_whole(self, partition: int, now_ms: int) -> list[str]:
        """Strangers of which parts wait for windows that were not whole for long: not all partitions close them, and none ever may."""
        strangers = self._strangers(partition).items()
        return [n for n, ms in strangers if now_ms - ms >= SILENT_MS and self._courts[partition][n].bench.line.waits]

    async def _positions(self, assigned: frozenset[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Restore newly assigned partitions from what was written of them, then go on where that ends."""
        mine = [p for name, p in sorted(assigned) if name == self.settings.topic(WINDOWS)]
        async with self._taking:
            await self._catalog.refresh()
            for partition in mine:
                if partition not in self._courts:
                    await self._take(partition)
            return {place: offset for place, offset in self._next.items() if place in assigned}

    async def _take(self, partition: int) -> None:
        tables: dict[str, dict[str, TableRecord]] = {}
        for key, part in (await self.kept(TABLE, partition, table_record)).items():
            tables.setdefault(table_environment(key), {})[key] = part
        states: dict[str, dict[str, JudgeRecord]] = {}
        for key, known in (await self.kept(STATE, partition, judge_record)).items():
            states.setdefault(environment_of(key), {})[key] = known
        names = sorted({*tables, *states})
        now_ms = wall_clock_ms()
        self._courts[partition] = {n: self._new_court(n, tables.get(n, {}), states.get(n, {}), now_ms) for n in names}
        end, fence = await self.reader.end(TOPIC, partition), Fence()
        async for _, _, record in admitted(self.reader, partition, 0, end, fence):
            if isinstance(record, Decided):
                self._hear(partition, record)
        heard_until = {name: self._courts[partition][name].bench.line.place.window or 0 for name in self._strangers(partition)}
        await self._forget(partition, surplus(heard_until))
        self._fences[partition] = fence
        self._next[self.settings.topic(TOPIC), partition] = end
        courts = self._courts[partition].values()
        self._next[self.settings.topic(WINDOWS), partition] = min((court.restart for court in courts), default=0)
        await self.outbox.send([self._verdict(v, f"{v.window}") for court in courts for v in self._again(court)])

    def _again(self, court: Court) -> list[Verdict]:
        try:
            return court.bench.again()
        except Exception as error:  # as when a window is judged
            self._set_aside(court, f"{type(error).__name__}: {error}", error)
            return []

    async def _on_revoked(self, *_: object, **__: object) -> None:
        self._courts.clear()
        self._fences.clear()
        self._next.clear()
        self._heard_ms.clear()


def _late(court: Court, now_ms: int) -> list[Verdict]:
    if court.aside is None:
        return court.bench.late(now_ms)
    return court.bench.unable(f"{court.table.environment} is not judged any more: {court.aside}; mend that, then start the judge again")
