"""Webhooks: a hold, a revert or an expired lease is told to whoever the catalog names, a few tries, then a dead letter.

The body is a CloudEvent whose data is the notification: what happened, the weights now, until when, the next command. A webhook's
URL often is the key to it: it is in no body, no log and no dead letter.
"""

import asyncio

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ctrlplane_stream.model.commands import Notify
from ctrlplane_stream.wire import cloudevents
from ctrlplane_stream.wire.cloudevents import Unreadable

NOTIFIED = "stream.ctrlplane.notification.v1"
SOURCE = "ctrlplane-stream/engine"
_TRIES = 3
_REQUEST_SECONDS = 3.0


def body_of(notification: Notify) -> bytes:
    """What is posted: the same id however often it is posted, so that a receiver can tell a repetition."""
    told = msgspec.structs.replace(notification, webhook=None)
    return cloudevents.write(notification.id, SOURCE, NOTIFIED, told, subject=notification.rollout)


class Notifier:
    """Posts notifications. Close it at the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def tell(self, notifications: list[Notify]) -> list[Unreadable | None]:
        """Post all at once; for each None, or why its webhook did not take it. Takes seconds at most."""
        return list(await asyncio.gather(*(self._tell(n) for n in notifications)))

    async def _tell(self, notification: Notify) -> Unreadable | None:
        if notification.webhook is None:
            return None
        tries = AsyncRetrying(
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            retry=retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
        )
        try:
            await tries(self._post, notification.webhook, body_of(notification))
        except RetryError as error:
            return Unreadable(
                f"the webhook of notification {notification.id} did not take it: {_without_url(error.last_attempt.exception())}"
            )
        except ValueError:  # aiohttp.InvalidURL, which quotes it
            return Unreadable(f"the webhook of notification {notification.id} is no URL")
        return None

    async def _post(self, url: str, body: bytes) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS))
        headers = {"Content-Type": "application/cloudevents+json"}
        async with self._session.post(url, data=body, headers=headers) as answer:
            answer.raise_for_status()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _without_url(error: BaseException | None) -> str:
    """What went wrong, without what aiohttp quotes of the request."""
    match error:
        case aiohttp.ClientResponseError():
            return f"it answered {error.status}"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}"
        case TimeoutError():
            return f"no answer within {_REQUEST_SECONDS:g} s"
        case _:
            return type(error).__name__
