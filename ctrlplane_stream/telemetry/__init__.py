"""The span engine: from OTLP to an exact, version-aware dependency table. A library; it neither reads nor writes Kafka.

Three stages, each a plain object that is fed in partition order and returns what to publish::

    otlp_spans ──► HalvesStage ──► span-halves ──► PairStage ──► telemetry-windows ──► DependencyTable ──► facts

**Stage 1, any worker** (`halving`)::

    stage = HalvesStage(settings, default_engine().source(settings))
    halved = stage.process([SourceRecord(partition, offset, value, received_ms), …], now_ms)
    # publish halved.records (each has a partition and a value) on span-halves; dead-letter halved.unreadable (source,
    # offset, reason); await both; then acknowledge. halved.spans and halved.skipped are for metrics.
    value = stage.watermark(partition, now_ms, whole_ms)    # about once a second for each owned source partition:
    # publish to *every* partition of span-halves, after what was read before; None: nothing to say yet.
    stage.forget(partition)                                  # when a source partition is revoked

Pass several records at a time (10 to 50 of 500 spans): a batch costs about a millisecond however small it is.
`received_ms` is the Kafka record's time stamp. `whole_ms` is when the broker was asked for the end
of the partition that was read through by now; None: there is a backlog.

**Watches** (`batches`): on a confirmed weight publish `encode_watch(Watch(environment, service, versions))` to every partition
of span-halves: the *whole* set of candidate versions of that target; empty ends the watch.

**Stage 2, one object per owned partition of span-halves** (`pair`)::

    stage = PairStage(partition, settings, catalog, checkpoint_or_None, default_engine().pairing)
    # begin reading at stage.restart_offset
    record = decode(value)                                   # Batch | Watermark | Watch | Unreadable (dead-letter, go on)
    for out in stage.feed(offset, record): ...               # WindowPart | Closed: publish in this order, keyed by environment
    # after a feed that returned something, and everything was acknowledged:
    value = checkpoint.encode(stage.checkpoint())            # write, await, then acknowledge

A window closes when all `settings.partitions` sources have a watermark past its end and the allowed lateness. Part 0 of a
window comes once, followed by a `Closed` for every environment known, also where nothing came. What is late is published as
a part whose number is one more than the offset of the record that brought it out: numbers ascend, repeat on replay, and have
gaps. Rows add up: a window is the sum of its parts. A stage rebuilt from a checkpoint says nothing until it has passed
the checkpoint, then exactly what the old one would have said; a part may therefore be published twice, never with other
content: readers drop `(environment, partition, window, part)` that they have seen.

**Stage 3, one object per environment** (`table`)::

    table = DependencyTable(environment, TableSettings(…)); table.restore([(key, table_record(key, value)), …])
    # begin reading at table.restart_offset
    table.in_motion = frozenset({"shop/cart"})               # services whose ArrivalsObserved are wanted
    for fact in table.feed(offset, window_record): ...       # EdgesObserved | EdgesFaded | ArrivalsObserved: publish, await
    for key, value in table.dirty(): ...                     # then write in order (the head comes last), await

**Recordings** (`offline`, `graph_document`): `windows_of(paths)` gives the windows of recorded OTLP, `windows_of_both` those of
two that are compared; `document_of` the graph.

What is guaranteed: the sums do not depend on order or batching of what is on time; reading span-halves again gives the
same records byte for byte; every span that makes no edge is counted under a `Skip`. What is not: calls evicted by
`max_halves`, or cut off by `max_trace_ms`, may be counted differently by a stage that was rebuilt in the middle of it.

The rules, each with its reason, and the reasons themselves: ``docs/spans.md``.

Modules, in the order of the flow: `settings`, `reasons`, `half`, `origins`, `peers`, `sampling`, `reading` (OTLP to halves),
`batches` and `batch_encoding` (halves as bytes), `halving`; `traces` (who called whom), `known_peers`, `settlement` (halves without their
other side), `drawing`, `exposures`, `names`, `folding`, `counting`, `pairing`, `checkpoint`, `pair`; `edge_records`, `table`;
`recordings`, `other_recording`, `offline`, `graph_document`; `sample_traces`; `engines`. The same work many spans at a
time: `columnar_*` in columns, for which `columns`, `half_columns`, `linking` and `describing` stand; `native_*` by the C in `native`;
`bounding` for both.
"""
