"""The embedded broker keeps its promises: data and port survive a crash, and it dies with whoever started it."""

import asyncio
import os
import signal
import subprocess
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ctrlplane_stream.local.kafka import EmbeddedKafka, NamedKafka, open_broker
from ctrlplane_stream.local.processes import accepts


def test_a_crashed_broker_comes_back_with_its_data_on_the_same_port(own_kafka: EmbeddedKafka) -> None:
    """What a broker acknowledged before SIGKILL is read after the restart, at the address it had."""
    address = own_kafka.bootstrap
    asyncio.run(_write(address, b"acknowledged"))
    own_kafka.kill()
    assert not accepts(own_kafka.port)
    own_kafka.start()
    assert own_kafka.bootstrap == address
    assert asyncio.run(_read(address)) == b"acknowledged"


def test_a_broker_that_is_named_and_answers_is_used_as_it_is(kafka: EmbeddedKafka | NamedKafka) -> None:
    """Nothing is started beside it, and nothing of this machine is needed."""
    with open_broker({"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}) as used:
        assert used == NamedKafka(kafka.bootstrap)


def test_a_broker_dies_with_the_process_that_started_it() -> None:
    """SIGKILL of the starter, which runs no clean-up, leaves no broker behind: the kernel ends it."""
    script = (
        "from ctrlplane_stream.local.kafka import EmbeddedKafka; import time; "
        "print(EmbeddedKafka().start().port, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert starter.stdout is not None
    port = int(starter.stdout.readline())
    assert accepts(port)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    while accepts(port):
        time.sleep(0.02)


async def _write(bootstrap: str, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait("kept", value)


async def _read(bootstrap: str) -> bytes | None:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition("kept", 0)])
        value: bytes | None = (await consumer.getone()).value
        return value


def test_a_command_runs_beside_a_broker_that_ends_with_it() -> None:
    """``with_kafka`` names the broker to the command, hands on its exit status, and leaves nothing."""
    ask = "b = os.environ['KAFKA_BOOTSTRAP_SERVERS']; print(b, _answers(b)); exit(7)"
    script = f"import os; from ctrlplane_stream.local.kafka import _answers; {ask}"
    command = [sys.executable, "-m", "ctrlplane_stream.local.with_kafka", sys.executable, "-c", script]
    environ = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    address, answered = done.stdout.split()
    assert (done.returncode, answered) == (7, "True")
    assert not accepts(int(address.rpartition(":")[2]))
