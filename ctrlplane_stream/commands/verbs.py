"""The verbs of ``control``: what each does, what it is said of, and which options mean something to it."""

import msgspec

from ctrlplane_stream.decision.promoting import BAKED_KEPT
from ctrlplane_stream.decision.versioning import VERSIONS_KEPT
from ctrlplane_stream.model.facts import OverrideVerb

SCOPE, PLACE, SERVICE = "SCOPE", "ENVIRONMENT[:SERVICE]", "ENVIRONMENT:SERVICE"

SCOPES = {
    SCOPE: "SCOPE is a rollout's id (production/shop-cart/3), a service (production:shop/cart) or a whole environment (production).",
    PLACE: "ENVIRONMENT[:SERVICE] is a whole environment (production) or one service of it (production:shop/cart).",
    SERVICE: "ENVIRONMENT:SERVICE is a service in its environment (production:shop/cart).",
}
"""What a verb is said of: the name in its usage line, and a sentence for its help."""


class Meaning(msgspec.Struct, frozen=True):
    """A verb: one line for the list of all, more for its own help, what it is said of, and the options that it alone takes."""

    line: str
    more: str
    scope: str = SCOPE
    options: tuple[str, ...] = ()


MEANINGS: dict[OverrideVerb, Meaning] = {
    OverrideVerb.PAUSE: Meaning(
        "Hold a rollout where it is.",
        "No step forward until `control resume`; weights stay as they are. A FAIL still reverts it, and so does the policy's "
        "hold_deadline_seconds (a day by default). Never refused.",
    ),
    OverrideVerb.RESUME: Meaning(
        "Go on after a pause, or over an edit by hand.",
        "Lifts what a person put on the rollouts of SCOPE, or what waits for one. A target that somebody edited by hand, or that strayed, "
        "is told again what is wanted of it; of a whole environment all of them are. It passes over no gate: what is held for want of "
        "proof or telemetry stays held (`control promote`, `control skip`), and a revert that a FAIL holds is held again while it fails "
        "(`control skip`, `control abort`). After a FAIL of any other rollout there is nothing to resume: it goes back by itself, and "
        "`control retry` begins it anew.",
    ),
    OverrideVerb.PROMOTE: Meaning(
        "On to the next step without waiting for proof.",
        "Takes the next step, or all with --all-steps, though this one is not proven or waits for a person. Never past a FAIL, and never "
        "while telemetry stands still or comes late: `control skip` and `control force` do that. A service of which nothing is heard while "
        "others are is promoted on that word. It must be ready before it takes more traffic.",
        options=("--all-steps",),
    ),
    OverrideVerb.ABORT: Meaning(
        "Back to the stable version, now.",
        "All traffic of what the rollouts of SCOPE move goes back to stable. Acted on ahead of whatever is queued, also while the "
        "environment is parked, since a fact cannot be decided. Never refused.",
        options=("--unsafe",),
    ),
    OverrideVerb.FREEZE: Meaning(
        "Nothing starts or steps forward.",
        "Until `control unfreeze` of the same scope, or for --for minutes. What is under way stays at its weight, "
        "beyond the deadline of any hold; a FAIL still reverts it, and `control revert` goes back all the same. Never refused.",
        PLACE,
        ("--for",),
    ),
    OverrideVerb.UNFREEZE: Meaning(
        "Lift the freezes of a scope.",
        "Those that were put on this very scope: a freeze of the environment stays when a service of it is unfrozen.",
        PLACE,
    ),
    OverrideVerb.PIN: Meaning(
        "Stay at a version whatever is pushed.",
        "Pushes are numbered and not rolled out, until `control unpin`. It moves no traffic; the version that is pinned is kept from being "
        "deleted.",
        SERVICE,
        ("--version",),
    ),
    OverrideVerb.UNPIN: Meaning(
        "Follow pushes again.",
        "What was pushed meanwhile is not rolled out by it: `control retry` does that.",
        SERVICE,
    ),
    OverrideVerb.FORCE: Meaning(
        "Pass over all further gates, also over a FAIL.",
        "The rollouts of SCOPE go through all their steps, judged by nobody; people are told. Make-before-break stays: a version that is "
        "not ready takes no traffic, and the old one stays until the new one serves. What is paused, or was edited by hand, stays held "
        "until `resume`. What still queues begins without waiting for hold_after_revert_seconds, and for its turn as before. With "
        "--unsafe a version that is not ready takes traffic too, wherever a route gives it; without one ready instance it is held at the "
        "end of its bake, and not made stable; and what drains goes at once, under whatever requests it still meets. Where only ready "
        "instances make a weight (behind one Service, consumers, exchanges in place), that waits for them all the same.",
        options=("--unsafe",),
    ),
    OverrideVerb.SKIP: Meaning(
        "Pass over the gate of this step alone, also over a FAIL.",
        "With --fact-offset instead: pass over the parked fact of an environment, which no build can decide, so that those behind it are "
        "decided.",
        options=("--fact-offset",),
    ),
    OverrideVerb.RETRY: Meaning(
        "Roll a version out again that was reverted.",
        "A new rollout, step by step, of what was reverted (by its rollout's id), or of a service's newest version, which a pin or a newer "
        "push kept back, or of --version. Refused while something moves the service, or waits to: what is tried again "
        "takes nobody's place.",
        options=("--version",),
    ),
    OverrideVerb.REVERT: Meaning(
        "Back to an earlier version that baked here.",
        "To --version, or to the one before the stable one: make-before-break and in one step, since it was good here. What baked after "
        "it is left by that, and `control retry` rolls it out again step by step. What a service's versions are made from is known of the "
        f"last {VERSIONS_KEPT}, and of the last {BAKED_KEPT} that baked: an older one is pushed again and retried. What moves the "
        "service now is stopped first, and what waits to move it is withdrawn. It waits for that alone: for no freeze, no maintenance "
        "window and no hold_after_revert_seconds, and what climbs next to it stands still until it has all traffic. A FAIL on the way "
        "holds it for a person: a revert is never reverted by itself, and no push ends it. Needs a service, or a rollout, of which the "
        "first service is meant.",
        options=("--version",),
    ),
    OverrideVerb.ADOPT: Meaning(
        "Take over what runs here already, as it is.",
        "What --artifact names becomes a version of ours: stable at once, unjudged, and not restarted. Refused where the service has a "
        "version here or something of it is under way.",
        SERVICE,
        ("--artifact", "--told-as"),
    ),
}
"""Every verb has a row."""
