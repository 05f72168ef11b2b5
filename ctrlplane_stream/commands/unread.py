"""What ``doctor`` says of a question that the broker did not answer: that it could not be looked at, and never what it might have found."""

import asyncio
from collections.abc import Awaitable

from aiokafka.errors import KafkaError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError

from ctrlplane_stream.commands.findings import Finding, wrong
from ctrlplane_stream.wire.kafka_clients import NoBroker
from ctrlplane_stream.wire.topic_admin import TopicError

_LATE = (RequestTimedOutError, KafkaTimeoutError, NodeNotReadyError, OSError, asyncio.CancelledError, AttributeError)
"""The last two are what aiokafka ends with where a connection breaks while it waits, and where it has not heard of the controller yet."""


async def findings_or_why_not(check: str, asked: Awaitable[list[Finding]]) -> list[Finding]:
    """What was found; where the broker did not answer, or refused, one finding that says so."""
    try:
        return await asked
    except NoBroker:
        return []  # a topic that is missing, or is otherwise than set: said with the topics
    except (KafkaError, TopicError, *_LATE) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        return [could_not_be_read(check, error)]


def could_not_be_read(check: str, error: BaseException) -> Finding:
    """The finding; by whether an answer is late or there is one that says no."""
    retriable = isinstance(error, KafkaError) and error.retriable
    if isinstance(error, _LATE) or retriable:
        remedy = "ask again; where that stays so, the broker or this machine has more to do than it can: see its load, and the broker's log"
        return wrong(check, f"could not be read: no answer in time ({type(error).__name__})", remedy)
    remedy = "see that the credentials that are set may ask this"
    return wrong(check, f"could not be read: {error or type(error).__name__}", remedy)
