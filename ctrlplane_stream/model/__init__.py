"""Words only: what the engine talks about, with no I/O, clock, randomness or framework.

Every word is a frozen ``msgspec.Struct``: immutable, typed, and encodable to canonical JSON, so that the same
definition is the value in memory, the record on a topic and the source of its JSON Schema (``schemas/``).
Units come last in names (``drain_seconds``). Times are integer milliseconds since the Unix epoch, windows are
named by their start in whole seconds.
"""
