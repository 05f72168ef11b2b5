"""`judge`: the gates over recorded traces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ctrlplane_stream.commands.alone import alone_in_recording, alone_of_recordings
from ctrlplane_stream.commands.gate_options import FILES, gate_of, takes_window
from ctrlplane_stream.commands.groups import Command
from ctrlplane_stream.commands.options import fail, print_json, takes_json
from ctrlplane_stream.commands.statuses import FAILED, end, ends
from ctrlplane_stream.decision.judge.offline import Report, judge_recordings, judge_split
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.verdicts import VerdictStatus

EXIT = {VerdictStatus.PASS: 0, VerdictStatus.FAIL: 3, VerdictStatus.INCONCLUSIVE: 4, VerdictStatus.NO_DATA: 5}
"""A script tells harm from doubt by the exit status; 1 and 2 are of any command: refused, and called in a wrong way."""


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


@click.command(cls=_FilesCommand)
@click.option("--stable", multiple=True, type=FILES, metavar="FILE...", help="Recorded OTLP of the stable version.")
@click.option("--candidate", multiple=True, type=FILES, metavar="FILE...", help="Recorded OTLP of the candidate.")
@click.option("--split", metavar="version=NEW", help="One recording of both: spans of version NEW are the candidate's.")
@click.option("--policy", type=FILES, help="Gate policy, YAML or JSON: its fields, or a rollout policy with `gate`.")
@takes_window
@click.option("--all-windows", is_flag=True, help="In words, also the windows after that of the verdict (--json has them all).")
@click.argument("recordings", nargs=-1, type=FILES)
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
    gate = gate_of(policy)
    if split is not None:
        version = _version(split)
        if stable or candidate:
            raise click.UsageError("--split compares two versions in one recording: leave out --stable and --candidate")
        if not recordings:
            raise click.UsageError("--split needs a recording: judge --split version=NEW FILE")
        (recording,) = _recordings(window_seconds, recordings)
        parts, unreadable = recording.parts, len(recording.unreadable)
        report = _unless_alone(judge_split(parts, version, gate, window_seconds), alone_in_recording(parts, version))
    elif stable and candidate and not recordings:
        before, after = _recordings(window_seconds, stable, candidate)
        unreadable = len(before.unreadable) + len(after.unreadable)
        report = _unless_alone(
            judge_recordings(before.parts, after.parts, gate, window_seconds), alone_of_recordings(before.parts, after.parts)
        )
    else:
        raise click.UsageError("give --stable FILE and --candidate FILE, or --split version=NEW FILE")
    report = msgspec.structs.replace(report, unreadable=unreadable)
    if as_json:
        print_json(report)
    else:
        _tell(report, all_windows=all_windows)
    end(EXIT[report.verdict])


def _recordings(window_seconds: int, *sides: tuple[Path, ...]) -> Any:
    """What each side's files hold, one or two; ends the command where they cannot be read, or one has no span."""
    # Imported when called: the columnar libraries take longer to load than a plan takes to print.
    from ctrlplane_stream.telemetry.offline import OFFLINE, windows_of, windows_of_both

    settings = msgspec.structs.replace(OFFLINE, window_ms=window_seconds * 1000)
    try:
        recordings = windows_of_both(*sides, settings) if len(sides) == 2 else (windows_of(sides[0], settings),)
    except OSError as error:
        fail(f"{error}; give a readable recording (JSON lines or length-prefixed protobuf, as the Collector's file exporter writes)")
    for files, recording in zip(sides, recordings, strict=True):
        for bad in recording.unreadable:
            click.echo(f"{bad.path}, record {bad.number}: {bad.reason}", err=True)
        if not recording.spans:
            fail(f"no span in {', '.join(map(str, files))}; give OTLP as the Collector's file exporter writes it")
    return recordings


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


def _unmatched(stable: int, candidate: int) -> Iterator[str]:
    """What the longer of two recordings has more, in words."""
    if stable:
        yield (
            f"The candidate's recording ends {counted(stable, 'window')} before stable's, and nothing is known of it from there on: "
            "if it was recorded for as long, nothing reached it any more."
        )
    if candidate:
        yield (
            f"The last {counted(candidate, 'window')} of the candidate's recording {'have' if candidate > 1 else 'has'} none of stable's "
            "beside it: held against all of stable's recording, with wider margins, which finds harm and proves nothing."
        )


def _tell(report: Report, *, all_windows: bool) -> None:
    click.echo(f"{report.verdict} after window {report.at_window}{'' if report.proven or report.verdict != 'PASS' else ', unproven'}")
    click.echo(report.reason)
    click.echo(f"Compared {report.comparison}.")
    if report.unreadable:
        click.echo(f"{counted(report.unreadable, 'record')} could not be read, as told above: the verdict knows nothing of them.")
    if report.strayed:
        strays = counted(report.strayed, "call or request", "calls and requests")
        click.echo(f"{strays} left out: they ended at quite another time than the rest of their recording, as by a wrong clock.")
    for sentence in _unmatched(*report.unmatched):
        click.echo(sentence)
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
