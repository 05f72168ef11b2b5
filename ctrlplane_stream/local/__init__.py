"""The embedded default: real parts as child processes on loopback, for those who have no cluster at hand.

A real Kafka from pinned jars, the OTLP intake, the sample shop, a Collector built from source. Nothing here is a
stand-in: whatever runs under ``local`` speaks the same protocols as the part it saves the user from installing.
"""
