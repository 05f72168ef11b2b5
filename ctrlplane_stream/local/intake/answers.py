"""What a sender is told, and how each protocol says it.

OTLP 1.x, https://opentelemetry.io/docs/specs/otlp/: failures carry a ``google.rpc.Status`` in the body (HTTP) or the
trailers (gRPC); 429, 503, and RESOURCE_EXHAUSTED with RetryInfo, UNAVAILABLE ask the sender to try again.
"""

from typing import assert_never

import grpc
import msgspec
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse


class Accepted(msgspec.Struct, frozen=True):
    """The broker has it, all but ``rejected_spans``, which are lost for the ``reason``: not to be sent again."""

    rejected_spans: int = 0
    reason: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    """Not OTLP as the specification has it; sending it again does not help."""

    reason: str


class TooLarge(msgspec.Struct, frozen=True):
    """More than one request may hold; to be sent in smaller parts."""

    reason: str


class Overloaded(msgspec.Struct, frozen=True):
    """As much is in flight as may be; nothing was taken. To be sent again after ``retry_seconds``."""

    retry_seconds: int = 1
    reason: str = "as many bytes are in flight as may be"


class Unavailable(msgspec.Struct, frozen=True):
    """The broker did not acknowledge in time. To be sent again, at the price of a duplicate where it did come through."""

    reason: str
    retry_seconds: int = 2


Answer = Accepted | Unreadable | TooLarge | Overloaded | Unavailable


def http_status(answer: Answer) -> int:
    """The HTTP status of an answer."""
    match answer:
        case Accepted():
            return 200
        case Unreadable():
            return 400
        case TooLarge():
            return 413
        case Overloaded():
            return 429
        case Unavailable():
            return 503
        case _:
            assert_never(answer)


def grpc_code(answer: Answer) -> grpc.StatusCode:
    """The gRPC status code of an answer."""
    match answer:
        case Accepted():
            return grpc.StatusCode.OK
        case Unreadable():
            return grpc.StatusCode.INVALID_ARGUMENT
        case TooLarge() | Overloaded():
            # Without RetryInfo (TooLarge) it means that trying again is of no use.
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case Unavailable():
            return grpc.StatusCode.UNAVAILABLE
        case _:
            assert_never(answer)


def retry_seconds(answer: Answer) -> int | None:
    """After how many seconds to try again, or None where that is of no use."""
    return answer.retry_seconds if isinstance(answer, Overloaded | Unavailable) else None


def response(accepted: Accepted) -> ExportTraceServiceResponse:
    """The response message of success, whole or partial."""
    if not accepted.rejected_spans:
        return ExportTraceServiceResponse()
    partial = ExportTracePartialSuccess(rejected_spans=accepted.rejected_spans, error_message=accepted.reason)
    return ExportTraceServiceResponse(partial_success=partial)


def status(answer: Unreadable | TooLarge | Overloaded | Unavailable) -> status_pb2.Status:
    """The status message of a refusal, with RetryInfo where trying again is of use."""
    code = code_pb2.Code.Value(grpc_code(answer).name)
    message = status_pb2.Status(code=code, message=answer.reason)
    seconds = retry_seconds(answer)
    if seconds is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.seconds = seconds
        message.details.add().Pack(info)
    return message
