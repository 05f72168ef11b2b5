"""Writes `docs/rollout.md`: the essay of `decision/phases.py`, the diagram drawn from its table, and what each event means.

`--check` writes nothing and fails where the page is not what the code says.
"""

import ast
import inspect
import sys
from pathlib import Path

from in_step import keep_in_step

from ctrlplane_stream.decision import admission, phases
from ctrlplane_stream.decision.couplings import COUPLINGS, Standing
from ctrlplane_stream.decision.phases import ENDED, TRANSITIONS, Event, Phase

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rollout.md"


def page() -> str:
    """The whole page."""
    head = (
        "Generated from `phases.py`, `couplings.py` and `admission.py` of `ctrlplane_stream/decision/` by `python scripts/rollout_doc.py`."
    )
    return "\n".join(
        ["# The rollout machine", "", head, "", _essay(phases), "", _diagram(), "", "## Events", "", _events(), "",
         "## Rollouts beside each other", "", _essay(admission), "", _couplings(), ""]
    )  # fmt: skip


def _essay(module: object) -> str:
    return (inspect.getdoc(module) or "").replace("``", "`")


def _diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", f"  [*] --> {Phase.QUEUED}"]
    for phase, row in TRANSITIONS.items():
        lines += [f"  {phase} --> {after}: {event}" for event, after in row.items()]
    return "\n".join([*lines, *(f"  {phase} --> [*]" for phase in ENDED), "```"])


def _events() -> str:
    (body,) = (node for node in ast.parse(inspect.getsource(Event)).body if isinstance(node, ast.ClassDef))
    said: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.Assign) and isinstance(field.targets[0], ast.Name) and isinstance(below, ast.Expr):
            said[field.targets[0].id] = " ".join(ast.literal_eval(below.value).split())
    rows = [f"| {event} | {said.get(event.name, '')} | {_leads(event)} |" for event in Event]
    return "\n".join(["| event | means | leads |", "|---|---|---|", *rows])


def _leads(event: Event) -> str:
    return ", ".join(f"{phase} → {row[event]}" for phase, row in TRANSITIONS.items() if event in row)


def _couplings() -> str:
    head = ["| a queued rollout, and another that … | " + " | ".join(Standing) + " |", "|---" * (len(Standing) + 1) + "|"]
    rows = ["| " + " | ".join([relation, *(row[standing] for standing in Standing)]) + " |" for relation, row in COUPLINGS.items()]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "decision/", sys.argv[1:]))
