"""JSON that somebody else wrote, or that a disk kept, ends nothing that reads it, whatever is wrong with it, and is read in one way."""

import ast
import asyncio
import contextlib
import gzip
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import ctrlplane_stream
from ctrlplane_stream.actuators.gitops import memory as commits
from ctrlplane_stream.actuators.gitops.guarding import Safety, guard
from ctrlplane_stream.actuators.gitops.owned import Document, Owned
from ctrlplane_stream.actuators.kubernetes import memory
from ctrlplane_stream.actuators.kubernetes.access import Access
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.applying import apply_manifests
from ctrlplane_stream.actuators.kubernetes.objects import LAST_APPLIED, RUNS, TARGET, Kind
from ctrlplane_stream.actuators.kubernetes.runs import Told, told
from ctrlplane_stream.actuators.kubernetes.transport import Reply, Request, fields_taken, message_of
from ctrlplane_stream.actuators.kubernetes.weights import record_key, recorded
from ctrlplane_stream.actuators.ledger_file import LedgerFolder, LedgerUnreadable
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.actuators.process import ProcessHost
from ctrlplane_stream.commands.gate_options import gate_of
from ctrlplane_stream.local.demo.audience import Audience
from ctrlplane_stream.local.host.api import HostApi
from ctrlplane_stream.local.host.host import Host
from ctrlplane_stream.local.host.jobs import JobStaffing
from ctrlplane_stream.local.host.settings import HostSettings
from ctrlplane_stream.local.intake import otlp_json
from ctrlplane_stream.local.shop import surroundings
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.stream.deciding import read_fact
from ctrlplane_stream.stream.decision_log import read_decision
from ctrlplane_stream.stream.judge_records import judge_record
from ctrlplane_stream.telemetry import checkpoint, recordings
from ctrlplane_stream.telemetry.table_records import table_record
from ctrlplane_stream.wire.artifacts import read_artifact
from ctrlplane_stream.wire.catalog_file import read_catalog_record
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.control import read_control
from ctrlplane_stream.wire.json_words import WrongJson
from ctrlplane_stream.wire.otlp import request_bytes
from ctrlplane_stream.wire.registry import read_notification
from ctrlplane_stream.wire.verdicts import read_verdict
from ctrlplane_stream.wire.windows import read_window

CART = Target("demo", "shop/cart")
WRONG = {
    "no JSON": b"<html>502 Bad Gateway</html>",
    "another word": b"[[7]]",
    "cut short": b'{"type": "decided", "environment": "de',
    "no UTF-8": b'"\xff"',
    "too deep": b"[" * 100_000,
    "objects too deep": b'{"spec":' * 100_000,
    "a huge number": b"9" * 5_000,
}
"""Whatever the word is, these hold none."""

wrong = pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())


@wrong
@pytest.mark.parametrize(
    "read",
    [read_artifact, read_catalog_record, read_control, read_decision, read_fact, read_notification, read_verdict, read_window],
    ids=lambda read: str(read.__name__),
)
def test_what_is_no_word_on_a_topic_is_a_value_with_a_reason(read: Callable[[bytes], object], body: bytes) -> None:
    found = read(body)
    assert isinstance(found, Unreadable)
    assert found.reason


@wrong
@pytest.mark.parametrize(
    "read",
    [
        checkpoint.decode,
        otlp_json.decode,
        lambda body: table_record("demo/head", body),
        lambda body: table_record("demo/1", body),
        lambda body: judge_record("demo", body),
        lambda body: judge_record("demo/head", body),
        lambda body: judge_record("demo/steps", body),
        lambda body: judge_record("demo/past-1", body),
        lambda body: judge_record("demo/steps-0-1", body),
    ],
    ids=["checkpoint", "OTLP of a sender", "table head", "table shard", "docket", "judge head", "steps", "past", "chunk"],
)
def test_what_is_no_word_where_a_role_or_a_sender_wrote_is_one_error(read: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises((WrongJson, otlp_json.NotOtlpJson)):
        read(body)


@wrong
def test_spans_that_are_none_are_told_of(body: bytes, tmp_path: Path) -> None:
    """In a record as in a file; what does not begin with a brace is taken for protobuf, and refused as that."""
    assert not body.startswith(b"{") or not isinstance(request_bytes(body), bytes)
    (tmp_path / "spans.json").write_bytes(body)
    assert list(recordings.read(tmp_path / "spans.json"))


@wrong
def test_the_audience_of_the_demo_passes_over_what_is_no_decision(body: bytes) -> None:
    audience = Audience(Settings(), "demo")
    audience._take(0, 0, body)
    assert audience.decisions == audience.parked == []


@wrong
def test_a_gate_that_is_none_ends_its_command_with_words(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_bytes(body)
    with pytest.raises(click.ClickException, match="the fields are those of a gate"):
        gate_of(tmp_path / "gate.json")


@wrong
def test_an_instance_of_the_shop_says_which_of_its_variables_is_wrong(body: bytes) -> None:
    environ = {"SERVICE": "shop/cart", "CTRLPLANE_ROUTES": body.decode(errors="surrogateescape")}
    with pytest.raises(surroundings.BadSurroundings, match="CTRLPLANE_ROUTES"):
        surroundings.read(environ)


@wrong
@pytest.mark.parametrize("path", ["targets/demo/shop%2Fcart.json", "ports.json"])
def test_a_host_that_cannot_read_its_folder_names_the_file(path: str, body: bytes, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(body)
    with pytest.raises(LedgerUnreadable, match=rf"{path}: .*; restore it, or remove it to begin .* anew"):
        asyncio.run(Host(HostSettings(tmp_path)).start())


@wrong
def test_a_job_whose_count_of_runs_cannot_be_read_names_the_file(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "shop.cart.json").write_bytes(body)
    with pytest.raises(LedgerUnreadable, match=r"shop\.cart\.json: .*; restore it, or remove it to begin its count of runs anew"):
        JobStaffing(CART, HostSettings(tmp_path), dict)


@wrong
def test_a_ledger_that_cannot_be_read_is_named(body: bytes, tmp_path: Path) -> None:
    folder = LedgerFolder(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "shop%2Fcart.json").write_bytes(body)
    with pytest.raises(LedgerUnreadable, match="to begin demo:shop/cart anew"):
        folder.load()


@wrong
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/targets/demo/shop%2Fcart"),
        ("PUT", "/routes/demo/shop%2Fcart"),
        ("POST", "/targets/demo/shop%2Fcart/hand-edit"),
        ("POST", "/targets/demo/shop%2Fcart/release"),
        ("POST", "/targets/demo/shop%2Fcart/break-glass"),
    ],
)
def test_a_host_answers_400_to_what_is_no_request(method: str, path: str, body: bytes, tmp_path: Path) -> None:
    async def ask() -> tuple[int, dict[str, Any]]:
        async with TestClient(TestServer(HostApi(Host(HostSettings(tmp_path))).application())) as client:
            headers = {"Content-Type": "application/json"}
            async with client.request(method, path, data=body, headers=headers) as response:
                return response.status, await response.json()

    status, said = asyncio.run(ask())
    assert status == 400
    assert said["reason"]


@contextlib.asynccontextmanager
async def answering(body: bytes, status: int = 200) -> AsyncIterator[str]:
    """The URL of a server that answers so, whatever it is asked."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@wrong
@pytest.mark.parametrize("status", [200, 409, 502])
def test_who_answers_in_the_place_of_a_process_host_is_no_world(status: int, body: bytes) -> None:
    async def ask() -> None:
        async with answering(body, status) as url, ProcessHost(url) as host:
            await host.observe(CART)

    with pytest.raises(WorldUnreachable, match="is it the process host of this version"):
        asyncio.run(ask())


class Answers:
    """A transport that answers the same to everything."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def send(self, _: Request) -> Reply:
        return Reply(200, self._body)

    async def lines(self, _: Request) -> AsyncIterator[bytes]:
        yield b""
        yield self._body

    async def close(self) -> None:
        pass


async def _watch(cluster: Cluster) -> None:
    async for _ in cluster.watch(Kind.POD, "shop", "", "7"):
        pass


@wrong
@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster: cluster.get(Kind.SERVICE, "shop", "cart"),
        lambda cluster: cluster.select(Kind.SERVICE, "shop"),
        lambda cluster: cluster.serves(Kind.HTTP_ROUTE),
        lambda cluster: cluster.own_rules("shop"),
        lambda cluster: cluster.create(Kind.SERVICE, "shop", {"metadata": {"name": "cart"}}),
        _watch,
    ],
    ids=["get", "select", "serves", "own_rules", "create", "watch"],
)
def test_who_answers_in_the_place_of_an_api_server_is_no_world(ask: Callable[[Cluster], Any], body: bytes) -> None:
    with pytest.raises(WorldUnreachable, match=r"the API server answered .*, which is no object of Kubernetes"):
        asyncio.run(ask(Cluster(Answers(body))))


@wrong
def test_nor_is_it_one_to_install_to(body: bytes) -> None:
    async def install() -> None:
        async with answering(body) as url:
            await apply_manifests(
                Access(url, None, lambda: None), [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}]
            )

    with pytest.raises(WorldUnreachable, match="is no object of Kubernetes"):
        asyncio.run(install())


@wrong
@pytest.mark.parametrize("status", [409, 422, 502])
def test_a_refusal_that_is_none_of_the_api_server_is_told_as_it_came(status: int, body: bytes) -> None:
    assert message_of(Reply(status, body)) == body[:300].decode(errors="replace")
    assert not fields_taken(Reply(status, body))


@pytest.mark.parametrize("body", [b"{}", b'{"error": "no"}', b'{"message": "no", "details": [{"reason": "x"}]}', b'{"message": ["no"]}'])
def test_another_servers_refusal_is_told_whole(body: bytes) -> None:
    """As of a gateway in between, whose JSON has names like the API server's."""
    assert message_of(Reply(409, body)) == body.decode()
    assert not fields_taken(Reply(409, body))


@wrong
def test_what_somebody_wrote_into_annotations_of_ours_counts_as_nothing(body: bytes) -> None:
    text = body.decode(errors="replace")
    assert told({"metadata": {"name": "report", "annotations": {RUNS: text}}}) == Told()
    assert recorded({"metadata": {"name": "shop", "annotations": {record_key("cart"): text}}}, "cart") is None


@wrong
def test_what_argo_cd_is_to_have_applied_and_cannot_be_read_is_believed_to_set_replicas(body: bytes) -> None:
    application = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {"destination": {"namespace": "shop"}, "syncPolicy": {"automated": {"selfHeal": True}}},
    }
    tracking = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart", LAST_APPLIED: body.decode(errors="replace")}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cart", "namespace": "shop", "annotations": tracking, "managedFields": []},
    }
    found = guard(Owned("apps", "Deployment", "shop", "cart"), [Document("", application), Document("", deployment)], live=True)
    assert [each.safety for each in found] == [Safety.UNSAFE]


@wrong
@pytest.mark.parametrize("of", ["the rest", "templates"])
def test_a_memory_in_a_cluster_that_cannot_be_read_is_named(of: str, body: bytes) -> None:
    text = body.decode(errors="replace")
    whole = '{"target": ["demo", "shop/cart"], "place": {"namespace": "shop", "slug": "shop-cart"}}'
    manifest = {
        "metadata": {"namespace": "shop", "name": "cart", "annotations": {TARGET: str(CART)}},
        "data": {"memory": text if of == "the rest" else whole},
        "binaryData": {"templates.json.gz": b64encode(gzip.compress(body)).decode()},
    }
    with pytest.raises(memory.MemoryUnreadable, match=r"ConfigMap shop/cart: .*; restore it, or delete it to begin demo:shop/cart anew"):
        memory.read_memory(manifest, CART)


@wrong
def test_a_memory_in_a_commit_that_cannot_be_read_is_named(body: bytes) -> None:
    text = body.decode(errors="surrogateescape")
    message = f"moved\n\nCtrlplane-Target: {CART}\nCtrlplane-Cursor: 3.118\nCtrlplane-Memory: {text}\n"
    with pytest.raises(commits.MemoryUnreadable, match="the trailers of commit 0123456789ab cannot be read"):
        commits.read_memory(message, "0123456789abcdef", CART)


_PACKAGE = Path(ctrlplane_stream.__file__).parent
_OUR_OWN = {
    "decision/state.py": "entries of a state, of records that were read by then; the core knows no wire",
    "local/control_plane/plane.py": "tools of the tests",
    "local/control_plane/sweep/record.py": "tools of the tests",
    "local/load_report.py": "what a child of ours writes while its parent reads",
    "simulation/backtest.py": "entries of a state",
    "telemetry/folding.py": "what it has written just now",
    "telemetry/pieces.py": "what was written just now",
    "telemetry/written_rows.py": "what was written just now",
    "testing.py": "what it has written just now",
    "wire/json_words.py": "the one way",
}


@pytest.mark.parametrize("path", sorted(_PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(_PACKAGE)))
def test_nothing_reads_json_in_another_way(path: Path) -> None:
    """But what reads its own."""
    name = str(path.relative_to(_PACKAGE))
    assert bool(list(_readings(path.read_text()))) == (name in _OUR_OWN)


@pytest.mark.parametrize(
    "source",
    [
        "msgspec.json.decode(body, type=Word)",
        "json.loads(body)",
        "word = msgspec.json.Decoder(Word)\nword.decode(body)",
        "words: dict[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(word) for kind in kinds}\nwords['a'].decode(body)",
        "msgspec.json.Decoder(Word).decode(body)",
        "from json import loads",
        "from msgspec.json import decode",
        "await response.json()",
    ],
)
def test_the_check_sees_what_it_is_for(source: str) -> None:
    assert list(_readings(source))


def _readings(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    decoders = {"json"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and "json.Decoder(" in ast.unparse(node.value):
            decoders |= {ast.unparse(target) for target in (node.targets if isinstance(node, ast.Assign) else [node.target])}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("json", "msgspec.json"):
            yield ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _reads(node.func, decoders):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _reads(function: ast.Attribute, decoders: set[str]) -> bool:
    of = function.value.value if isinstance(function.value, ast.Subscript) else function.value
    text = ast.unparse(of)
    if function.attr == "json":
        return True
    return function.attr in ("decode", "load", "loads") and (text in decoders or text == "msgspec.json" or "json.Decoder(" in text)
