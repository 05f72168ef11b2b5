"""TLS and SASL reach the broker as set: the same commands against a listener that takes nothing else."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ctrlplane_stream.commands.doctor import doctor
from ctrlplane_stream.commands.topics import topics
from ctrlplane_stream.local.kafka import EmbeddedKafka, missing_parts
from ctrlplane_stream.local.processes import ChildProcess, free_port
from ctrlplane_stream.settings import Settings, load
from ctrlplane_stream.wire.kafka_clients import read_to_end

_PASSWORD = "open-sesame"
_LISTENER = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},SECURE://127.0.0.1:{secure_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SECURE://127.0.0.1:{secure_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keystore}
"""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, require: Callable[[list[str]], None]) -> Iterator[dict[str, str]]:
    """What reaches a broker that wants TLS and SCRAM: the environment of a command."""
    environ = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": ""}
    require(missing_parts(environ))
    folder = tmp_path_factory.mktemp("tls")
    authority = _certificates(folder)
    secure_port = free_port()
    listener = _LISTENER.format(secure_port=secure_port, keystore=folder / "keystore.pem")
    scram = ["--add-scram", f"SCRAM-SHA-512=[name=ops,password={_PASSWORD}]"]
    with EmbeddedKafka(heap_megabytes=256, more_properties=listener, format_arguments=scram, environ=environ):
        yield {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{secure_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_USERNAME": "ops",
            "KAFKA_SASL_PASSWORD": _PASSWORD,
            "KAFKA_SSL_CAFILE": str(authority),
            "CTRLPLANE_PARTITIONS": "2",
        }


def test_commands_work_through_tls_and_scram(secured: dict[str, str]) -> None:
    """Topics are made and found in order, and the password is in nothing that is printed."""
    assert _run(secured, "apply").exit_code == 0
    examined = CliRunner().invoke(doctor, [], env=secured)
    assert "ok     topics: all" in examined.stdout
    assert "KAFKA_SASL_PASSWORD=***" in examined.stdout
    assert _PASSWORD not in examined.output


@pytest.mark.parametrize(
    "wrong",
    [{"KAFKA_SASL_PASSWORD": "guess"}, {"KAFKA_SSL_CAFILE": ""}, {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}],
    ids=["password", "authority", "protocol"],
)
def test_what_is_set_wrongly_is_refused_in_one_line(secured: dict[str, str], wrong: dict[str, str]) -> None:
    """A wrong password, a broker that nobody vouches for, no TLS: status 1, the address, and no secret."""
    refused = _run({**secured, **wrong}, "plan")
    assert refused.exit_code == 1
    assert f"no broker answers at {secured['KAFKA_BOOTSTRAP_SERVERS']}" in refused.stderr
    assert _PASSWORD not in refused.output


def test_a_worker_claims_its_partitions_through_tls_and_scram(secured: dict[str, str], tmp_path: Path) -> None:
    """Faust's own clients and ours beside them get in, and the password is in no log."""
    assert _run(secured, "apply").exit_code == 0
    command = [sys.executable, "-m", "ctrlplane_stream", "worker", "--role", "engine"]
    with ChildProcess("worker", command, log=tmp_path / "worker.log", environ={**os.environ, **secured}) as worker:
        worker.wait_ready(lambda: asyncio.run(_claims(load(secured))) == 2, 90.0)
    assert _PASSWORD not in (tmp_path / "worker.log").read_text()


async def _claims(settings: Settings) -> int:
    return len([record async for record in read_to_end(settings, "decisions")])


def _run(environ: dict[str, str], command: str) -> Result:
    return CliRunner().invoke(topics, [command], env=environ)


def _certificates(folder: Path) -> Path:
    """An authority, and a certificate for 127.0.0.1 with its key in ``keystore.pem``; returns the authority's certificate."""
    key = ["-newkey", "rsa:2048", "-noenc", "-days", "2"]
    _openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    server = ["-keyout", "server.key", "-out", "server.pem", "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    _openssl(folder, "req", "-x509", *key, "-CA", "ca.pem", "-CAkey", "ca.key", *server)
    (folder / "keystore.pem").write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
    return folder / "ca.pem"


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
