"""Webhooks: told once where they answer, given up with a reason where they do not, their URL seen nowhere."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from aiohttp import web

from ctrlplane_stream.model.commands import Notify
from ctrlplane_stream.stream.notifying import Notifier, body_of
from ctrlplane_stream.wire.cloudevents import Unreadable

KEY = "a-key-that-nobody-should-see"


class Webhook:
    """A real server that gives these answers one after the other, the last one again and again."""

    def __init__(self, *answers: int) -> None:
        self._answers = list(answers)
        self.bodies: list[bytes] = []

    async def _take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response(status=self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])

    def during(self, work: Callable[[str], Awaitable[list[Unreadable | None]]]) -> list[Unreadable | None]:
        """Do the work while it listens; the work is given its URL."""

        async def serve() -> list[Unreadable | None]:
            app = web.Application()
            app.router.add_post(f"/{KEY}", self._take)
            runner = web.AppRunner(app)
            await runner.setup()
            try:
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                host, port = runner.addresses[0][:2]
                return await work(f"http://{host}:{port}/{KEY}")
            finally:
                await runner.cleanup()

        return asyncio.run(serve())


def notification(webhook: str | None) -> Notify:
    """A rollout was held."""
    weights = {"shop/cart": {"#1": 95, "#2": 5}}
    return Notify(
        "n1", "held", "no telemetry for 40 s", "production/shop-cart/2", weights, "ctrlplane-stream control resume …", 99, webhook
    )


async def _tell(*webhooks: str | None) -> list[Unreadable | None]:
    notifier = Notifier()
    try:
        return await notifier.tell([notification(webhook) for webhook in webhooks])
    finally:
        await notifier.close()


def test_a_notification_says_what_the_weights_the_deadline_and_what_to_type() -> None:
    """A CloudEvent with the notification's own id, so that a receiver knows a repetition; the webhook is not in it."""
    webhook = Webhook(200)
    assert webhook.during(_tell) == [None]
    told = msgspec.json.decode(webhook.bodies[0])
    assert told["id"] == "n1"
    data = told["data"]
    assert (data["event"], data["text"], data["deadline_ms"]) == ("held", "no telemetry for 40 s", 99)
    assert (data["weights"], data["next_command"]) == ({"shop/cart": {"#1": 95, "#2": 5}}, "ctrlplane-stream control resume …")
    assert KEY.encode() not in webhook.bodies[0]


def test_a_webhook_that_fails_once_is_told_again() -> None:
    """The second try is the same record."""
    webhook = Webhook(503, 200)
    assert webhook.during(_tell) == [None]
    assert len(webhook.bodies) == 2
    assert webhook.bodies[0] == webhook.bodies[1]


def test_a_webhook_that_keeps_failing_is_given_up_and_its_url_is_not_in_the_reason() -> None:
    """Three tries, then a reason that can be logged."""
    webhook = Webhook(500)
    (failure,) = webhook.during(_tell)
    assert failure is not None
    assert "it answered 500" in failure.reason
    assert KEY not in failure.reason
    assert len(webhook.bodies) == 3


@pytest.mark.parametrize("url", [f"http://127.0.0.1:1/{KEY}", f"nonsense/{KEY}", f"ftp://hooks.example/{KEY}", f"http://h:999999/{KEY}"])
def test_no_reason_quotes_the_url(url: str) -> None:
    """Nobody there, or no URL at all."""
    (failure,) = asyncio.run(_tell(url))
    assert failure is not None
    assert "n1" in failure.reason
    assert KEY not in failure.reason


def test_an_environment_without_a_webhook_has_nobody_to_tell() -> None:
    """That is no failure."""
    assert asyncio.run(_tell(None)) == [None]


def test_the_same_notification_has_the_same_body() -> None:
    """However often it is posted."""
    assert body_of(notification("http://a")) == body_of(notification("http://b"))
