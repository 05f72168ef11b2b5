"""Writes `docs/metrics.md` from the table of families in `ctrlplane_stream/stream/metrics.py`.

`--check` writes nothing and fails where the page is not what the code says.
"""

import sys
from pathlib import Path

from in_step import keep_in_step

from ctrlplane_stream.stream.metrics import FAMILIES, Family, Product

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

HEAD = """\
# Metrics of the worker

Generated from `ctrlplane_stream/stream/metrics.py` by `python scripts/metrics_doc.py`. Each role serves its own at `/metrics`, on
loopback, where `CTRLPLANE_METRICS_PORT` names a port; with `--role all` the roles follow each other from that port on, in the
order engine, spans, judge, actuate, project. Every family has the label `role`.

| family | kind | what | labels | look when |
|---|---|---|---|---|
"""

PRODUCTS = """
`ctrlplane_produced_total` is there at 0 for each thing that a role makes, so that a rate has a beginning:

| `what` | by | |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    products = "".join(f"| `{what}` | {', '.join(what.roles)} | {what.text} |\n" for what in Product)
    return HEAD + "".join(_row(f) for f in FAMILIES) + PRODUCTS + products


def _row(family: Family) -> str:
    kind = "counter" if family.counts else "gauge"
    return f"| `{family.name}` | {kind} | {family.text} | {', '.join(f'`{name}`' for name in family.labels)} | {family.worry} |\n"


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "stream/metrics.py", sys.argv[1:]))
