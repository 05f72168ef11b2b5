"""Measurements that `docs/` publishes; each module is one target of the Makefile."""
