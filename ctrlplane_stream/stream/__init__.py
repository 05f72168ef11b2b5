"""The shell around the pure parts: Kafka in, Kafka out, effectively once on an engine that delivers at least once.

Only this package imports Faust. Each role of the worker is one Faust app (``roles/``) whose agents are a few lines; what
they must keep to stands in small classes beside them that know no Faust and are handed their I/O (``ports.py``):

========================  =====================================================================================
``decision_log``          which records of ``decisions`` count: claims, epochs, and whose records to ignore
``line``                  an environment's place in the line of its facts, folded from the log
``deciding``              one fact to one record: in turn, ahead of its turn, beside the line, parked, skipped
``recovery, snapshots``   claim, fold, go on
``ownership``             a partition that is ours: batches, contiguous writes, timers, look-ahead
``ingest, catalog_book``  records of users to facts, or to dead letters
``framework``             the Faust app: raw bytes, explicit positions, an idempotent producer, no web server
``worker, supervisor``    one role as a process, and all of them as children
========================  =====================================================================================
"""
