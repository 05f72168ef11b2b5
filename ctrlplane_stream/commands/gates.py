"""`gates plan`: what a gate can find and prove at a traffic, before a step begins."""

import math
from pathlib import Path
from typing import Any

import click
from msgspec.structs import asdict

from ctrlplane_stream.commands.gate_options import FILES, gate_of, takes_window
from ctrlplane_stream.commands.groups import Group
from ctrlplane_stream.commands.options import Finite, print_json, takes_json
from ctrlplane_stream.commands.statuses import ends
from ctrlplane_stream.decision.judge.planning import StepPlan, Traffic, duration, finds_errors, margin_factor, plan_step
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.verdicts import GatePolicy, Metric, OnUnprovable

_THEN = {
    OnUnprovable.SOAK: "soaks, and passes unproven",
    OnUnprovable.HOLD: "is held for a person",
    OnUnprovable.APPROVAL: "waits for an outside judge",
}


class _Share(click.ParamType):
    """A share: ``5%`` or ``0.05``; 0 only where it may be."""

    name = "share"

    def __init__(self, or_none: bool = False) -> None:
        self.or_none = or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{value!r} is no share; write 5% or 0.05", param, ctx)
        if not (0 < share <= 1 or (self.or_none and share == 0)):
            self.fail(f"{value!r} is not {'from 0 to' if self.or_none else 'above 0 and at most'} 100%; write 5% or 0.05", param, ctx)
        return share


@click.group(cls=Group)
def gates() -> None:
    """What gates can find and prove."""


@gates.command(short_help="How long it takes to prove a step, and to find a fault.")
@click.option("--rps", type=Finite(min=0, min_open=True), metavar="N", required=True, help="Requests a second of the whole service.")
@click.option("--weight", type=_Share(), required=True, help="The candidate's share of them: 5% or 0.05.")
@click.option("--detect", type=_Share(), required=True, help="The rise of the error share that must be found: 2% or 0.02.")
@click.option("--errors", type=_Share(or_none=True), default="0.5%", show_default=True, help="Stable's share of errors.")
@click.option(
    "--p99-over-p50",
    type=Finite(min=1, min_open=True),
    default=3.0,
    show_default=True,
    metavar="N",
    help="Spread of latencies: the 99th percentile over the median.",
)
@click.option(
    "--guards",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    metavar="N",
    help="Services that are watched (guards), among which the risk of a false alarm is shared out.",
)
@click.option("--steps", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Steps of the rollout, the same.")
@takes_window
@click.option("--policy", type=FILES, help="Gate policy, YAML or JSON.")
@takes_json
@ends({0: "told, also where this traffic proves nothing"})
def plan(
    rps: float,
    weight: float,
    detect: float,
    errors: float,
    p99_over_p50: float,
    guards: int,
    steps: int,
    window_seconds: int,
    policy: Path | None,
    as_json: bool,
) -> None:
    """How long it takes at this traffic to prove that a step does no harm, and to find a fault of this size where there is one."""
    if errors + detect > 1:
        raise click.UsageError(f"--errors {errors:.4g} and a rise by {detect:.4g} are more than all requests: give a smaller --detect")
    gate = gate_of(policy)
    traffic = Traffic(rps, weight, errors, p99_over_p50, float(window_seconds))
    planned = plan_step(traffic, detect, gate, questions=guards * len({*gate.metrics, *gate.proof}), steps=steps)
    if as_json:
        print_json({name: _finite(value) for name, value in asdict(planned).items()})
    else:
        _tell_plan(planned, traffic, detect, gate)


def _tell_plan(planned: StepPlan, traffic: Traffic, detect: float, gate: GatePolicy) -> None:
    click.echo(
        f"{traffic.rps:g} requests a second, {100 * traffic.weight:.3g}% of them at the candidate; errors {traffic.error_share:.2%}."
    )
    factor = margin_factor(traffic, gate)
    set_to = planned.margin / (factor or 1.0)
    margin = f"margin {planned.margin:.2%}" + (
        f", for which error_margin must be set to {set_to:.2%}: it is {gate.error_margin:.2%}" if set_to < gate.error_margin else ""
    )
    found = f"{_found(planned)} ({margin})" if finds_errors(gate) else "not looked for: the policy does not ask after failed requests"
    click.echo(f"  a rise of errors by {detect:.2%} is {found}")
    unasked = {metric: "" if metric in gate.proof else "; the policy wants no proof of it" for metric in Metric}
    error, p99 = duration(planned.error_proof_seconds), duration(planned.latency_proof_seconds)
    click.echo(f"  no rise beyond the margin is proven after about {error}{unasked[Metric.ERROR_RATIO]}")
    slower = f"(+{factor * gate.latency_margin:.0%} allowed){unasked[Metric.LATENCY_P99]}"
    click.echo(f"  no slower 99th percentile is proven after about {p99} {slower}")
    if traffic.weight >= 1:
        click.echo(f"No stable version is beside it then: it is held against the past, with margins {factor:g} times as wide.")
    if planned.provable:
        click.echo(
            f"A step without harm is proven after about {duration(planned.step_seconds)} ({counted(round(planned.windows), 'window')}); "
            "half of all take longer, one in twenty up to three times as long."
        )
    else:
        click.echo(_what_does_not_fit(planned, gate, gate.maximum_windows * traffic.window_seconds))
        soak = gate.soak_windows * traffic.window_seconds
        if gate.on_unprovable is OnUnprovable.SOAK and planned.detect_within_seconds > soak:
            click.echo(
                f"It leaves after {counted(gate.soak_windows, 'window')} ({duration(soak)}) in which nothing speaks for harm: a rise that "
                "takes longer to be found is found by a later step, or not at all."
            )
    if planned.margin < detect < 2 * planned.margin:
        click.echo("With a smaller error_margin a rise so close to it is found sooner.")
    if planned.detect_seconds > planned.step_seconds and finds_errors(gate):
        click.echo(
            f"It takes longest to find that rise: until then it keeps the step from being proven, but for {gate.false_pass:.0%} of cases "
            "(false_pass)."
        )


def _found(planned: StepPlan) -> str:
    if math.isinf(planned.detect_seconds):
        return "seldom or never found"
    sure = planned.detect_within_seconds
    within = "not in 19 of 20 cases" if math.isinf(sure) else f"in 19 of 20 cases within {duration(sure)}"
    return f"found after about   {duration(planned.detect_seconds)}, {within}"


def _what_does_not_fit(planned: StepPlan, gate: GatePolicy, allowed: float) -> str:
    """Which proof takes longer than the policy allows, what would make it shorter, and what comes of it as it is."""
    margin, p99, least = (
        f"an error_margin of {planned.provable_margin:.2%} (proven just in that time)",
        gate.latency_margin,
        gate.minimum_samples,
    )
    ways = [(planned.samples_seconds, f"so many as {least} requests", f"fewer minimum_samples than {least}")]
    if Metric.ERROR_RATIO in gate.proof:
        ways.append((planned.error_proof_seconds, "the error share", margin))
    if Metric.LATENCY_P99 in gate.proof:
        ways.append((planned.latency_proof_seconds, "the 99th percentile", f"a latency_margin above {p99:.0%}"))
    _, longest, _ = max(ways)
    needed = [way for seconds, _, way in ways if seconds > allowed]
    return (
        f"A step without harm is not proven within the {duration(allowed)} that the policy allows: {longest} takes longest. "
        f"This traffic needs {' and '.join(needed)}; or a larger step, or more windows (maximum_windows). "
        f"As it is, the step then {_THEN[gate.on_unprovable]} (on_unprovable: {gate.on_unprovable})."
    )


def _finite(value: float | bool) -> float | bool | None:
    return None if isinstance(value, float) and math.isinf(value) else value
