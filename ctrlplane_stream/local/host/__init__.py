"""A machine room in one process: services as child processes, a weighted router before each, and the target's memory.

It is a world, as a cluster is: it outlives workers, keeps its ledgers in files, honours leases by itself and enforces
make before break whatever it is told. Workers speak to it over loopback HTTP (``actuators/process.py``).
"""
