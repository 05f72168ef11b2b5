"""Recorded OTLP is told by content, and every form of the same spans gives the same graph."""

import gzip
import json
import os
import re
import threading
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from ctrlplane_stream.commands.graph import graph
from ctrlplane_stream.telemetry.graph_document import as_json as graph_json
from ctrlplane_stream.telemetry.graph_document import document_of_windows
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.offline import windows_of
from ctrlplane_stream.telemetry.random_traces import random_spans
from ctrlplane_stream.telemetry.sample_traces import SampleSpan, SampleTraces, request
from ctrlplane_stream.wire.gen.otlp_trimmed_pb2 import TraceRequest


def as_json(value: bytes, numbers_as_text: bool = True) -> str:
    """A request as OTLP/JSON: hexadecimal ids, numeric enums."""
    document = MessageToDict(TracesData.FromString(value), use_integers_for_enums=True)
    for resource in document.get("resourceSpans", []):
        for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
            for item in (span, *span.get("links", [])):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in item:
                        item[name] = _hexadecimal(item[name])
            if not numbers_as_text:
                span["endTimeUnixNano"] = int(span["endTimeUnixNano"])
                span["kind"] = f"SPAN_KIND_{Kind(span.get('kind', 0)).name}"
    return json.dumps(document)


def _hexadecimal(base64: str) -> str:
    return b64decode(base64).hex()


VALUES = [request(random_spans(seed)) for seed in range(6)]
LINES = "\n".join(as_json(value) for value in VALUES).encode() + b"\n"
LENGTHS = b"".join(len(value).to_bytes(4, "big") + value for value in VALUES)
WHOLE = b"".join(VALUES)

FORMS: dict[str, bytes] = {
    "json lines": LINES,
    "json lines, blank lines between": LINES.replace(b"\n", b"\n\n"),
    "json lines after blank ones": b"\r\n\n" + LINES,
    "one json document after a blank line": b"\n" + json.dumps(json.loads(as_json(WHOLE)), indent=2).encode(),
    "one json document over many lines": json.dumps(json.loads(as_json(WHOLE, numbers_as_text=False)), indent=2).encode(),
    "one document as Tempo hands out": json.dumps({"batches": MessageToDict(TracesData.FromString(WHOLE))["resourceSpans"]}).encode(),
    "one json document with a byte order mark": b"\xef\xbb\xbf" + as_json(WHOLE).encode(),
    "length-prefixed": LENGTHS,
    "one protobuf request": WHOLE,
    "gzip of lines": gzip.compress(LINES),
    "zstd of lines": zstandard.compress(LINES),
    "gzip of length-prefixed": gzip.compress(LENGTHS),
    "zstd of lines after a frame to be skipped": b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zstandard.compress(LINES),
    "zstd of length-prefixed, two frames": zstandard.compress(LENGTHS[:7]) + zstandard.compress(LENGTHS[7:]),
    "length-prefixed zstd": b"".join(len(z := zstandard.compress(value)).to_bytes(4, "big") + z for value in VALUES),
    "length-prefixed gzip of json": b"".join(len(z := gzip.compress(as_json(v).encode())).to_bytes(4, "big") + z for v in VALUES),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_spans_gives_the_same_windows(tmp_path: Path, form: str) -> None:
    reference, other = tmp_path / "reference", tmp_path / "other"
    reference.write_bytes(LENGTHS)
    other.write_bytes(FORMS[form])
    expected, found = windows_of([reference]), windows_of([other])
    assert found.unreadable == ()
    assert (found.parts, found.spans, found.skipped) == (expected.parts, expected.spans, expected.skipped)
    assert found.spans == sum(len(random_spans(seed)) for seed in range(6))


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    """As from `<(kubectl exec ...)`, which cannot be read twice."""
    reference, pipe = tmp_path / "reference", tmp_path / "pipe"
    reference.write_bytes(LENGTHS)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(zstandard.compress(LINES),), daemon=True)
    writer.start()
    expected, found = windows_of([reference]), windows_of([pipe])
    writer.join()
    assert (found.parts, found.spans, found.unreadable) == (expected.parts, expected.spans, ())


def test_what_protobufs_own_json_leaves_out_or_calls_null_is_empty(tmp_path: Path) -> None:
    """An attribute without a key is no reason to lose a request."""
    document = json.loads(LINES.splitlines()[0])
    expected = windows_of([_written(tmp_path, document)])
    for scope in (scope for resource in document["resourceSpans"] for scope in resource["scopeSpans"]):
        for span in scope["spans"]:
            span["attributes"] = [*span.get("attributes", []), {"value": {"stringValue": "x"}}, {"key": None}]
            span["parentSpanId"] = span.get("parentSpanId") or None
    assert windows_of([_written(tmp_path, document)]) == expected


def _written(folder: Path, document: object) -> Path:
    (folder / "recording").write_text(json.dumps(document))
    return folder / "recording"


def test_a_request_whose_second_byte_is_a_brace_is_protobuf(tmp_path: Path) -> None:
    """Its first field is 123 bytes long: a line feed and a brace, as a JSON document could begin."""
    for padding in range(123):
        message = TraceRequest()
        spans = message.resource_spans.add().scope_spans.add().spans
        spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, end_time_unix_nano=1, trace_state=b"x" * padding)
        if message.SerializeToString()[:2] == b"\n{":
            (tmp_path / "recording").write_bytes(message.SerializeToString())
            assert windows_of([tmp_path / "recording"]).spans == 1
            return
    raise AssertionError("no padding gives a field of 123 bytes")


CUT = zstandard.compress(WHOLE)[:-20]


def _nested(depth: int) -> bytes:
    """A line whose only attribute is an array in an array, so many times."""
    value: dict[str, object] = {"intValue": 1}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    span = {"traceId": "1" * 32, "spanId": "1" * 16, "endTimeUnixNano": 1, "attributes": [{"key": "server.address", "value": value}]}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode() + b"\n"


BROKEN: dict[str, tuple[bytes, str]] = {
    "cut in a request": (LENGTHS[:-5], "breaks off"),
    "cut in a length": (LENGTHS + b"\0\0", "breaks off"),
    "cut gzip": (gzip.compress(LENGTHS)[:-20], "breaks off"),
    "cut checksum of gzip": (gzip.compress(LINES)[:-4], "breaks off"),
    "cut zstd, in its second frame": (zstandard.compress(LINES) + zstandard.compress(LINES)[:-1], "breaks off"),
    "no zstd after a whole frame": (zstandard.compress(LINES) + b"junk", "breaks off"),
    "no OTLP in a line": (LINES + b'{"resourceSpans": 7}\n', "OTLP/JSON"),
    "no JSON in a line": (LINES + b"{oops\n", "OTLP/JSON"),
    "no JSON in the first line": (b"{oops\n" + LINES, "OTLP/JSON"),
    "a cut head": (LINES[300 : LINES.index(b"\n") + 1] + LINES, "OTLP/JSON"),
    "a line of a log before all": (b"2024-01-01 starting\n" + LINES, "OTLP/JSON"),
    "a line of a log between": (LINES + b"2024-01-01 rotated\n" + LINES, "OTLP/JSON"),
    "too deep to be read": (b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + LINES, "OTLP/JSON"),
    "values too deep to be written": (_nested(150) + LINES, "OTLP"),
    "cut zstd of a request": (LENGTHS + len(CUT).to_bytes(4, "big") + CUT, "broken"),
    "a bad id": (LINES + b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}\n', "OTLP/JSON"),
    "no protobuf": (LENGTHS + b"\0\0\0\x05hello", "OTLP"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_and_the_rest_is_read(tmp_path: Path, case: str) -> None:
    path = tmp_path / "recording"
    path.write_bytes(BROKEN[case][0])
    found = windows_of([path])
    assert [BROKEN[case][1] in bad.reason for bad in found.unreadable] == [True]
    assert found.spans >= sum(len(random_spans(seed)) for seed in range(5))


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, error: bool = False, callee: str = "cart") -> str:
        traces = SampleTraces()
        client = traces.span("shop", Kind.CLIENT, milliseconds=20)
        server = traces.span(callee, Kind.SERVER, client, milliseconds=10, error=error)
        (tmp_path / name).write_bytes(request([client, server]))
        return str(tmp_path / name)

    return write


def test_the_document_has_the_documented_shape(recording: Callable[..., str]) -> None:
    result = CliRunner().invoke(graph, ["--from", recording("a"), "--json"])
    document = json.loads(result.output)
    assert result.exit_code == 0
    assert document["spans"] == 2
    assert document["skipped"] == []
    (edge,) = document["edges"]
    assert {name: edge[name] for name in ("caller", "callee", "kind", "calls", "errors")} == {
        "caller": "shop",
        "callee": "cart",
        "kind": "call",
        "calls": 1,
        "errors": 0,
    }
    assert edge["versions"] == [{"caller": "1", "callee": "1", "calls": 1, "errors": 0}]
    assert edge["latency"]["server"]["p99"] == pytest.approx(10, rel=0.02)
    assert set(edge["latency"]) == {"client", "server", "gap"}


def test_pictures_name_every_edge(recording: Callable[..., str]) -> None:
    path = recording("a")
    assert '"shop" -> "cart" [label="1 call"];' in CliRunner().invoke(graph, ["--from", path, "--dot"]).output
    assert 'n1 -->|"1 call"| n0' in CliRunner().invoke(graph, ["--from", path, "--mermaid", "--progress"]).output


def test_no_character_of_a_name_is_taken_for_markup(recording: Callable[..., str]) -> None:
    path = recording("a", callee='<b>cart</b> "#1"\\')
    assert r'"shop" -> "<b>cart</b> \"#1\"\\"' in CliRunner().invoke(graph, ["--from", path, "--dot"]).output
    assert '["#lt;b>cart#lt;/b> #quot;#35;1#quot;\\"]' in CliRunner().invoke(graph, ["--from", path, "--mermaid"]).output


def test_versions_are_told_apart_in_every_form_where_there_are_several(tmp_path: Path) -> None:
    """Under the edge in words, as further lines of its label in the pictures; and words say whose latency it is."""
    traces, spans = SampleTraces(), []
    for version in ("1", "2"):
        client = traces.span("shop", Kind.CLIENT, milliseconds=20)
        spans += [client, traces.span("cart", Kind.SERVER, client, milliseconds=10, version=version, error=version == "2")]
    (tmp_path / "two").write_bytes(request(spans))
    told = {form: CliRunner().invoke(graph, ["--from", str(tmp_path / "two"), *form.split()]).output for form in ("", "--dot", "--mermaid")}
    assert "\n    1 -> 1: 1 call\n    1 -> 2: 1 call, 1 failed\n" in told[""]
    assert " ms (server side)\n" in told[""]
    assert r'[label="2 calls, 1 failed\n1 -> 1: 1 call\n1 -> 2: 1 call, 1 failed"]' in told["--dot"]
    assert '|"2 calls, 1 failed<br>1 -> 1: 1 call<br>1 -> 2: 1 call, 1 failed"|' in told["--mermaid"]


def test_two_forms_at_once_are_a_usage_error(recording: Callable[..., str]) -> None:
    refused = CliRunner().invoke(graph, ["--from", recording("a"), "--json", "--dot"])
    assert (refused.exit_code, "--json and --dot are different forms" in refused.output) == (2, True)


def test_environments_are_taken_together_and_named_unless_one_is_asked_for(tmp_path: Path) -> None:
    traces, spans = SampleTraces(), []
    for place, callee in (("production", "cart"), ("staging", "cart"), ("staging", "stock")):
        client = traces.span("shop", Kind.CLIENT, milliseconds=20, environment=place)
        spans += [client, traces.span(callee, Kind.SERVER, client, milliseconds=10, environment=place)]
    (tmp_path / "two").write_bytes(request(spans))

    def told(*words: str) -> str:
        return CliRunner().invoke(graph, ["--from", str(tmp_path / "two"), *words]).output

    assert "taken together: the environments production and staging" in told()
    assert "cart  2 calls" in told()
    assert "cart  1 call" in told("--environment", "staging")
    assert ("taken together" in told("--environment", "staging"), "stock" in told("--environment", "production")) == (False, False)
    assert "nothing of moon is recorded, only of production and staging" in told("--environment", "moon")


def test_a_live_graph_claims_no_number_of_spans(recording: Callable[..., str]) -> None:
    """The windows no longer say how many went in: the key is left out, and no nought stands there."""
    parts = windows_of([Path(recording("a"))]).parts
    assert list(json.loads(graph_json(document_of_windows(parts)))) == ["edges", "skipped"]


def test_a_difference_says_what_appeared_vanished_and_changed(recording: Callable[..., str]) -> None:
    good, bad, other = recording("a"), recording("b", error=True), recording("c", callee="stock")
    assert "~ shop -call-> cart  failed 0.0% -> 100.0%" in CliRunner().invoke(graph, ["--diff", good, bad]).output
    moved = CliRunner().invoke(graph, ["--diff", good, other]).output
    assert moved == "+ shop -call-> stock  1 call\n- shop -call-> cart  1 call\n"
    assert "no edge appeared" in CliRunner().invoke(graph, ["--diff", good, good]).output


def test_a_difference_knows_a_callee_that_died_by_where_it_answered_before(tmp_path: Path) -> None:
    """It tells of itself no more, and its callers tell an address only: that is a call that fails, and no other callee."""
    at = {"server.address": "cart.internal"}
    for name, dies in (("alive", False), ("dead", True)):
        traces, spans = SampleTraces(), []
        for _ in range(20):
            client = traces.span("shop", Kind.CLIENT, milliseconds=20, error=dies, attributes=at)
            spans += [client] if dies else [client, traces.span("cart", Kind.SERVER, client, milliseconds=10)]
        (tmp_path / name).write_bytes(request(spans))
    told = CliRunner().invoke(graph, ["--diff", str(tmp_path / "alive"), str(tmp_path / "dead")]).output
    assert "~ shop -call-> cart  failed 0.0% -> 100.0%" in told
    assert "external" not in told


def test_a_difference_says_that_there_are_more_calls_or_that_a_side_or_the_middle_is_slower(tmp_path: Path) -> None:
    """Whichever side was slow before: a network that became slow is seen by the client alone, and p99 need not move with p50."""

    def recorded(name: str, calls: int = 1, client: float = 20, server: float = 5) -> str:
        traces, spans = SampleTraces(), []
        for number in range(40):
            asked = traces.span("shop", Kind.SERVER, milliseconds=900)
            spans.append(asked)
            for _ in range(calls):
                called = traces.span("shop", Kind.CLIENT, asked, milliseconds=client)
                spans += [called, traces.span("cart", Kind.SERVER, called, milliseconds=150 if number % 20 == 0 else server)]
        (tmp_path / name).write_bytes(request(spans))
        return str(tmp_path / name)

    def changed(after: str) -> str:
        return CliRunner().invoke(graph, ["--diff", recorded("a"), after]).output

    assert changed(recorded("more", calls=10)) == "~ shop -call-> cart  calls per request 1 -> 10\n"
    assert re.fullmatch(
        r"~ .* p50 [\d.]+ -> [\d.]+ ms \(client side\); p99 [\d.]+ -> [\d.]+ ms \(client side\)\n", changed(recorded("x", client=200))
    )
    assert re.fullmatch(r"~ .*  p50 [\d.]+ -> [\d.]+ ms \(server side\)\n", changed(recorded("y", server=50)))
    assert changed(recorded("same", client=21, server=5.4)) == "no edge appeared, vanished or changed\n"


def test_a_difference_says_which_versions_there_were_and_are(tmp_path: Path) -> None:
    """Of each side by itself, a digest as short as elsewhere; and pairs of versions only where the versions are the same."""
    digest = f"sha256:{'ab' * 32}"
    recorded = {"one": [("1", "1")], "other": [("1", digest)], "both": [("1", "1"), ("2", "2")], "crossed": [("1", "2"), ("2", "1")]}
    for name, pairs in recorded.items():
        (tmp_path / name).write_bytes(_calls_between(pairs))

    def changed(before: str, after: str) -> str:
        return CliRunner().invoke(graph, ["--diff", str(tmp_path / before), str(tmp_path / after)]).output

    assert changed("one", "other") == "~ shop -call-> cart  versions of the callee: 1 -> sha256:abababababab\n"
    assert changed("one", "both") == "~ shop -call-> cart  versions of the caller: 1 -> 1, 2; versions of the callee: 1 -> 1, 2\n"
    crossed = changed("both", "crossed")
    assert "new calls of 1 to 2; new calls of 2 to 1; no more calls of 1 to 1; no more calls of 2 to 2" in crossed


def _calls_between(pairs: list[tuple[str, str]]) -> bytes:
    """A call from shop to cart for each (version of the caller, version of the callee)."""
    traces = SampleTraces()
    spans: list[SampleSpan] = []
    for caller, callee in pairs:
        client = traces.span("shop", Kind.CLIENT, milliseconds=20, version=caller)
        spans += [client, traces.span("cart", Kind.SERVER, client, milliseconds=10, version=callee)]
    return request(spans)


def test_several_files_are_one_recording(recording: Callable[..., str], tmp_path: Path) -> None:
    """As the shell spells it: one --from, and whatever a pattern stands for. A span found twice counts once."""
    result = CliRunner().invoke(graph, ["--from", recording("a"), recording("b"), "--json"])
    document = json.loads(result.output)
    assert (document["spans"], document["edges"][0]["calls"]) == (4, 1)
    assert document["skipped"] == [{"reason": "duplicate", "count": 2}]


def test_a_call_of_an_hour_is_paired_in_a_recording(tmp_path: Path) -> None:
    traces = SampleTraces()
    client = traces.span("shop", Kind.CLIENT, milliseconds=3_600_000)
    server = traces.span("report", Kind.SERVER, client, milliseconds=10, end_ms=client.end_ms - 3_500_000)
    (tmp_path / "long").write_bytes(request([client, server]))
    found = windows_of([tmp_path / "long"])
    assert (len(found.parts), found.skipped) == (2, {})
    assert [edge.calls for part in found.parts for edge in part.edges] == [1]


def test_a_difference_is_also_said_as_json(recording: Callable[..., str]) -> None:
    result = CliRunner().invoke(graph, ["--json", "--diff", recording("a"), recording("b", error=True)])
    found = json.loads(result.output)
    assert (found["appeared"], found["vanished"]) == ([], [])
    assert found["changed"][0]["changes"] == ["failed 0.0% -> 100.0%"]
    assert CliRunner().invoke(graph, ["--dot", "--diff", recording("a"), recording("b")]).exit_code == 2


@pytest.mark.parametrize(("content", "said"), [(b"", "empty files hold none"), (b'{"resourceMetrics":[]}\n', "metrics or logs")])
def test_a_file_without_spans_says_what_was_expected(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x").write_bytes(content)
    result = CliRunner().invoke(graph, ["--from", str(tmp_path / "x")])
    assert result.exit_code == 1
    assert said in result.output


def test_a_file_without_traces_ends_the_command_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{oops\n")
    result = CliRunner().invoke(graph, ["--from", str(tmp_path / "x")])
    assert result.exit_code == 1
    assert "expected OTLP traces as JSON lines" in result.output
