"""One module a command; `cli.py` knows them by name and loads them when called."""
