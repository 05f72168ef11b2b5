"""Modules generated from ``schemas/*.proto`` by ``scripts/generate_schemas.py``; never edited by hand."""
