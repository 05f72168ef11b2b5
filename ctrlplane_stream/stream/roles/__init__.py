"""The five roles of the worker: each builds one Faust app, wires agents of a few lines to the protocol, and nothing else."""
