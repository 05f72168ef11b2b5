"""What senders are told agrees between the protocols and says when to come back."""

import pytest
from google.rpc import error_details_pb2

from ctrlplane_stream.local.intake.answers import (
    Accepted,
    Answer,
    Overloaded,
    TooLarge,
    Unavailable,
    Unreadable,
    grpc_code,
    http_status,
    response,
    retry_seconds,
    status,
)


@pytest.mark.parametrize(
    ("answer", "http", "code", "again"),
    [
        (Accepted(), 200, "OK", False),
        (Unreadable("garbage"), 400, "INVALID_ARGUMENT", False),
        (TooLarge("large"), 413, "RESOURCE_EXHAUSTED", False),
        (Overloaded(), 429, "RESOURCE_EXHAUSTED", True),
        (Unavailable("no broker"), 503, "UNAVAILABLE", True),
    ],
)
def test_each_answer_has_the_codes_that_otlp_asks_for(answer: Answer, http: int, code: str, again: bool) -> None:
    """And a delay only where trying again is of use: in RESOURCE_EXHAUSTED its absence says that it is not."""
    assert (http_status(answer), grpc_code(answer).name, retry_seconds(answer) is not None) == (http, code, again)


def test_a_refusal_names_its_reason_and_delay() -> None:
    """The status message carries both, for machines."""
    message = status(Overloaded(3, "full"))
    info = error_details_pb2.RetryInfo()
    assert message.details[0].Unpack(info)
    assert (message.message, message.code, info.retry_delay.seconds) == ("full", 8, 3)
    assert not status(TooLarge("large")).details


def test_partial_success_is_told_and_full_success_is_silent() -> None:
    """An empty message means that everything was taken."""
    assert response(Accepted()).ByteSize() == 0
    assert response(Accepted(2, "no ids")).partial_success.rejected_spans == 2
