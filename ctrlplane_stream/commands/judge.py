"""`judge`: the gates over recorded traces. `gates plan`: what a gate can find and prove at a traffic, before a step begins."""

import math
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from ctrlplane_stream.commands.alone import alone_in_recording, alone_of_recordings, service_rows
from ctrlplane_stream.commands.groups import Command, Group
from ctrlplane_stream.commands.options import fail, print_json, takes_json
from ctrlplane_stream.commands.statuses import FAILED, end, ends
from ctrlplane_stream.decision.judge.offline import Report, judge_recordings, judge_split
from ctrlplane_stream.decision.judge.planning import StepPlan, Traffic, plan_step
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.model.verdicts import GatePolicy, Metric, OnUnprovable, VerdictStatus
from ctrlplane_stream.wire.gate_values import gate_problems

_FILES = click.Path(exists=True, dir_okay=False, path_type=Path)

EXIT = {VerdictStatus.PASS: 0, VerdictStatus.FAIL: 3, VerdictStatus.INCONCLUSIVE: 4, VerdictStatus.NO_DATA: 5}
"""A script tells harm from doubt by the exit status; 1 and 2 are of any command: refused, and called in a wrong way."""


_THEN = {
    OnUnprovable.SOAK: "soaks, and passes unproven",
    OnUnprovable.HOLD: "is held for a person",
    OnUnprovable.APPROVAL: "waits for an outside judge",
}


class _Share(click.ParamType):
    """A share: ``5%`` or ``0.05``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{value!r} is no share; write 5% or 0.05", param, ctx)
        if not 0 < share <= 1:
            self.fail(f"{value!r} is not above 0 and at most 100%; write 5% or 0.05", param, ctx)
        return share


class _FilesCommand(Command):
    """A command whose ``--stable`` and ``--candidate`` take as many files as follow, as a shell's ``*.jsonl`` gives them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        option = ""
        for at, argument in enumerate(args):
            if argument.startswith("-"):
                option = argument if argument in {"--stable", "--candidate"} else ""
            elif option and args[at - 1] != option:
                spread.append(option)
            spread.append(argument)
        return super().parse_args(ctx, spread)


_takes_window = click.option(
    "--window",
    "window_seconds",
    type=click.IntRange(1, 3600),
    metavar="SECONDS",
    default=10,
    show_default=True,
    help="Length of a window, by which traffic is judged.",
)


@click.command(cls=_FilesCommand)
@click.option("--stable", multiple=True, type=_FILES, metavar="FILE...", help="Recorded OTLP of the stable version.")
@click.option("--candidate", multiple=True, type=_FILES, metavar="FILE...", help="Recorded OTLP of the candidate.")
@click.option("--split", metavar="version=NEW", help="One recording of both: spans of version NEW are the candidate's.")
@click.option("--policy", type=_FILES, help="Gate policy, YAML or JSON: its fields, or a rollout policy with `gate`.")
@_takes_window
@click.option("--all-windows", is_flag=True, help="In words, also the windows after that of the verdict (--json has them all).")
@click.argument("recordings", nargs=-1, type=_FILES)
@takes_json
@ends({
    **{status: f"verdict {verdict}" for verdict, status in EXIT.items()},
    FAILED: "the input cannot be read",
})  # fmt: skip
def judge(
    stable: tuple[Path, ...],
    candidate: tuple[Path, ...],
    split: str | None,
    policy: Path | None,
    window_seconds: int,
    all_windows: bool,
    recordings: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Judge recorded traces of a stable and a candidate version, window by window."""
    gate = _gate(policy)
    if split is not None:
        version = _version(split)
        if stable or candidate:
            raise click.UsageError("--split compares two versions in one recording: leave out --stable and --candidate")
        if not recordings:
            raise click.UsageError("--split needs a recording: judge --split version=NEW FILE")
        parts = _recording(recordings, window_seconds).parts
        report = _unless_alone(judge_split(parts, version, gate, window_seconds), alone_in_recording(parts, version))
    elif stable and candidate and not recordings:
        before = _recording(stable, window_seconds)
        after = _recording(candidate, window_seconds, before)
        report = _unless_alone(
            judge_recordings(before.parts, after.parts, gate, window_seconds), alone_of_recordings(before.parts, after.parts)
        )
    else:
        raise click.UsageError("give --stable FILE and --candidate FILE, or --split version=NEW FILE")
    if as_json:
        print_json(report)
    else:
        _tell(report, all_windows=all_windows)
    end(EXIT[report.verdict])


@click.group(cls=Group)
def gates() -> None:
    """What gates can find and prove."""


@gates.command(short_help="How long it takes to prove a step, and to find a fault.")
@click.option(
    "--rps", type=click.FloatRange(min=0, min_open=True), metavar="N", required=True, help="Requests a second of the whole service."
)
@click.option("--weight", type=_Share(), required=True, help="The candidate's share of them: 5% or 0.05.")
@click.option("--detect", type=_Share(), required=True, help="The rise of the error share that must be found: 2% or 0.02.")
@click.option("--errors", type=_Share(), default="0.5%", show_default=True, help="Stable's share of errors.")
@click.option(
    "--p99-over-p50",
    type=click.FloatRange(min=1, min_open=True),
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
@_takes_window
@click.option("--policy", type=_FILES, help="Gate policy, YAML or JSON.")
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
    gate = _gate(policy)
    traffic = Traffic(rps, weight, errors, p99_over_p50, float(window_seconds))
    planned = plan_step(traffic, detect, gate, questions=guards * len(gate.metrics), steps=steps)
    if as_json:
        print_json({name: _finite(value) for name, value in planned._asdict().items()})
    else:
        _tell_plan(planned, traffic, detect, gate)


def _recording(files: tuple[Path, ...], window_seconds: int, before: Any = None) -> Any:
    """What the files hold; a service that is silent there is known to its callers by what they called ``before``."""
    # Imported when called: the columnar libraries take longer to load than a plan takes to print.
    from ctrlplane_stream.telemetry.offline import OFFLINE, windows_of

    settings = msgspec.structs.replace(OFFLINE, window_ms=window_seconds * 1000)
    names, answered = (_names(before.parts), before.answered) if before is not None else ({}, ())
    try:
        recording = windows_of(files, settings, names, answered=answered)
    except OSError as error:
        fail(f"{error}; give a readable recording (JSON lines or length-prefixed protobuf, as the Collector's file exporter writes)")
    for bad in recording.unreadable:
        click.echo(f"{bad.path}, record {bad.number}: {bad.reason}", err=True)
    if not recording.spans:
        fail(f"no span in {', '.join(map(str, files))}; give OTLP as the Collector's file exporter writes it")
    return recording


def _names(parts: tuple[Any, ...]) -> dict[str, str]:
    """Service names as addresses, so that a service that is silent in the candidate's recording is known to its callers."""
    services = sorted({row.service for row in service_rows(parts)})
    return {**{service.rpartition("/")[2]: service for service in services}, **{service: service for service in services}}


def _gate(path: Path | None) -> GatePolicy:
    if path is None:
        return GatePolicy()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        whole = isinstance(document, dict) and ("gate" in document or "steps" in document)
        gate = msgspec.convert(document, Policy).gate if whole else msgspec.convert(document, GatePolicy)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}; the fields are those of a gate in docs/policies.md")
    if wrong := [text for _, text in gate_problems(gate)]:
        fail(f"{path}: {'; '.join(wrong)}")
    return gate


def _version(split: str) -> str:
    name, _, version = split.partition("=")
    if name not in {"version", "service.version", "ctrlplane.version"} or not version:
        raise click.UsageError(f"--split takes version=NEW, not {split!r}")
    return version


def _unless_alone(report: Report, alone: str | None) -> Report:
    """The report; or no data, for the reason ``alone``, where the candidate has nothing beside it: a PASS would be of no comparison."""
    if alone is None:
        return report
    return msgspec.structs.replace(report, verdict=VerdictStatus.NO_DATA, at_window=0, reason=alone, proven=False, culprit=None, windows=())


def _tell(report: Report, *, all_windows: bool) -> None:
    click.echo(f"{report.verdict} after window {report.at_window}{'' if report.proven or report.verdict != 'PASS' else ', unproven'}")
    click.echo(report.reason)
    click.echo(f"Compared {report.comparison}.")
    if report.culprit is not None:
        on = f", on {report.culprit.edge}" if report.culprit.edge is not None else ""
        click.echo(f"Culprit: {report.culprit.service}{on}")
    shown = report.windows if all_windows else report.windows[: report.at_window]
    if shown:
        click.echo("Each window, and its strongest evidence of harm (e: without any harm it ever reaches N in at most one case of N):")
    for number, window in enumerate(shown, start=1):
        loudest = max(window.metrics, key=lambda metric: metric.e_value, default=None)
        said = f"  {loudest.service} {loudest.name} e = {loudest.e_value:.3g}" if loudest is not None and loudest.e_value > 1 else ""
        click.echo(f"{number:4}  {window.verdict}{said}")
    if left := len(report.windows) - len(shown):
        click.echo(f"{left} later window{'s' if left > 1 else ''} left out (--all-windows)")


def _tell_plan(planned: StepPlan, traffic: Traffic, detect: float, gate: GatePolicy) -> None:
    click.echo(
        f"{traffic.rps:g} requests a second, {100 * traffic.weight:.3g}% of them at the candidate; errors {traffic.error_share:.2%}."
    )
    margin = f"margin {planned.margin:.2%}" + (
        f", which error_margin must be set to: it is {gate.error_margin:.2%}" if planned.margin < gate.error_margin else ""
    )
    click.echo(f"  a rise of errors by {detect:.2%} is found after about   {_time(planned.detect_seconds)} ({margin})")
    unasked = {metric: "" if metric in gate.proof else "; the policy wants no proof of it" for metric in Metric}
    error, p99 = _time(planned.error_proof_seconds), _time(planned.latency_proof_seconds)
    click.echo(f"  no rise beyond the margin is proven after about {error}{unasked[Metric.ERROR_RATIO]}")
    click.echo(f"  no slower 99th percentile is proven after about {p99} (+{gate.latency_margin:.0%} allowed){unasked[Metric.LATENCY_P99]}")
    if planned.provable:
        click.echo(
            f"A step without harm is proven after about {_time(planned.step_seconds)} ({planned.windows:.0f} windows); half of all take "
            "longer."
        )
    else:
        click.echo(_what_does_not_fit(planned, gate, gate.maximum_windows * traffic.window_seconds))
    if planned.detect_seconds > planned.step_seconds:
        click.echo(
            f"It takes longest to find that rise: until then it keeps the step from being proven, but for {gate.false_pass:.0%} of cases "
            "(false_pass)."
        )


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
        f"A step without harm is not proven within the {_time(allowed)} that the policy allows: {longest} takes longest. "
        f"This traffic needs {' and '.join(needed)}; or a larger step, or more windows (maximum_windows). "
        f"As it is, the step then {_THEN[gate.on_unprovable]} (on_unprovable: {gate.on_unprovable})."
    )


def _time(seconds: float) -> str:
    if math.isinf(seconds):
        return "never"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _finite(value: float | bool) -> float | bool | None:
    return None if isinstance(value, float) and math.isinf(value) else value
