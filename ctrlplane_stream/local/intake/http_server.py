"""OTLP/HTTP: ``POST /v1/traces``, protobuf or JSON, plain or gzipped; beside it ``/healthz`` and ``/metrics``."""

from aiohttp import hdrs, web
from google.protobuf import json_format
from google.protobuf.message import Message
from prometheus_client import CONTENT_TYPE_LATEST

from ctrlplane_stream.local.intake.answers import Accepted, Answer, Overloaded, Unavailable, http_status, response, retry_seconds, status
from ctrlplane_stream.local.intake.body import read_body
from ctrlplane_stream.local.intake.receiver import Form, Receiver

_FORMS = {"application/x-protobuf": Form.PROTOBUF, "application/json": Form.JSON}
_ENCODINGS = {"": False, "identity": False, "gzip": True}
_SHUTDOWN_SECONDS = 10.0


class HttpFront:
    """The HTTP side of a receiver."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._leaving = False

    def runner(self) -> web.AppRunner:
        """What to put on a port. Bodies come as they are on the wire: unpacking is bounded by us."""
        application = web.Application()
        application.router.add_post("/v1/traces", self._traces)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._metrics)
        return web.AppRunner(application, access_log=None, handle_signals=False, auto_decompress=False, shutdown_timeout=_SHUTDOWN_SECONDS)

    def leave(self) -> None:
        """Refuse what comes from now on, even on connections that are open."""
        self._leaving = True

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self._leaving else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._receiver.metrics.exposition(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST})

    async def _traces(self, request: web.Request) -> web.Response:
        form = _FORMS.get(request.content_type)
        gzipped = _ENCODINGS.get(request.headers.get(hdrs.CONTENT_ENCODING, "").lower())
        if form is None or gzipped is None:
            accepts = f"send {' or '.join(_FORMS)}, plain or gzipped"
            return web.Response(status=415, text=accepts)
        answer = Unavailable("the intake is shutting down") if self._leaving else await self._take(request, form, gzipped=gzipped)
        self._receiver.metrics.answered("http", answer)
        return _response(answer, form)

    async def _take(self, request: web.Request, form: Form, *, gzipped: bool) -> Answer:
        reservation = self._receiver.budget.reserve()
        if reservation is None:
            return Overloaded()
        try:
            limits = self._receiver.limits
            body = await read_body(
                request.content.iter_any(),
                gzipped=gzipped,
                max_bytes=limits.body_bytes,
                within_seconds=limits.receive_seconds,
                reservation=reservation,
            )
        except BaseException:
            reservation.release()
            raise
        if not isinstance(body, bytes):
            reservation.release()
            return body
        return await self._receiver.take(body, form, reservation)


def _response(answer: Answer, form: Form) -> web.Response:
    """The answer in the form in which the request was written, as the specification asks."""
    message: Message = response(answer) if isinstance(answer, Accepted) else status(answer)
    seconds = retry_seconds(answer)
    headers = {} if seconds is None else {hdrs.RETRY_AFTER: str(seconds)}
    if form is Form.JSON:
        text = json_format.MessageToJson(message, indent=None)
        return web.Response(status=http_status(answer), headers=headers, text=text, content_type="application/json")
    body = message.SerializeToString()
    return web.Response(status=http_status(answer), headers=headers, body=body, content_type="application/x-protobuf")
