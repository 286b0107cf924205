"""What Twilio calls: says who may, and answers when what was said is durable, and not before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Literal
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from dispatcher.clock import Clock
from dispatcher.delivery.request import STATUS_PATH
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Account
from dispatcher.domain.settings import Listen, Replies
from dispatcher.optouts.words import read_type, read_word
from dispatcher.telemetry import metrics
from dispatcher.webhooks.callbacks import BODY, Form, encode, key_of, read_callback
from dispatcher.webhooks.door import Door
from dispatcher.webhooks.replies import reply_to
from dispatcher.webhooks.signature import Signatures

log = structlog.get_logger()

INBOUND_PATH = "/twilio/inbound"
# Twilio waits 15 s in all. https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
BODY_TIMEOUT = 5.0
SHUTDOWN_TIMEOUT = 10.0
_KINDS: dict[str, Literal["status", "inbound"]] = {STATUS_PATH: "status", INBOUND_PATH: "inbound"}
# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
_STATUSES = frozenset(
    {"accepted", "scheduled", "queued", "sending", "sent", "delivered", "undelivered", "failed", "read", "canceled"}
    | {"receiving", "received"}
)
_WARN_EVERY = 60.0


class Webhooks:
    """Answers requests. *put* takes a record's key and value and says when it is durable (False: it cannot be).

    *replies* are what to answer to recipients' words, by our number.
    """

    def __init__(
        self,
        signatures: Signatures,
        public_url: str,
        put: Callable[[bytes, bytes], "asyncio.Future[bool]"],
        clock: Clock,
        replies: Mapping[str, Replies],
    ) -> None:
        self._signatures = signatures
        self._public_path = urlsplit(public_url).path
        self._put = put
        self._clock = clock
        self._replies = replies
        self._quiet_until = 0.0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer *request*; who does not know how to ask is not kept connected."""
        started = self._clock.monotonic()
        try:
            response = await self._take(request)
        except web.HTTPException as refusal:
            if refusal.status != web.HTTPServiceUnavailable.status_code:
                refusal.force_close()
            self._measure(refusal.status, started)
            raise
        self._measure(response.status, started)
        return response

    async def _take(self, request: web.BaseRequest) -> web.Response:
        """Return what to say once *request* is durable; raise what else there is to say."""
        target = self._target(request.raw_path)
        path, _, query = target.partition("?")
        kind = _KINDS.get(path)
        if kind is None:
            raise web.HTTPNotFound
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        form, asked = await _read(request), _form(query)
        signer = self._signatures.signer(target, form, request.headers.get("X-Twilio-Signature"))
        if not isinstance(signer, Account):
            self._warn(path, signer)
            raise web.HTTPForbidden
        token = request.headers.get("I-Twilio-Idempotency-Token", "")
        # What Twilio has obeyed and answered itself it names; nothing more is to be said then.
        named = read_type(form.get("OptOutType")) if kind == "inbound" else None
        spoken = read_word(form.get(BODY) or "") if kind == "inbound" and named is None else None
        word = spoken.word if spoken is not None else named
        at = self._clock.now()
        callback = read_callback(kind, asked, form, account=signer, token=token, at=at, word=word)
        if not await self._put(key_of(callback), encode(callback)):
            raise web.HTTPServiceUnavailable
        _callbacks(kind, callback.status if callback.status in _STATUSES else "other").inc()
        if kind == "status":
            return web.Response(status=204)
        return web.Response(text=reply_to(spoken, form.get("To"), self._replies), content_type="text/xml")

    def _target(self, target: str) -> str:
        """Return *target* below the public URL, whose own path a proxy in front may or may not have taken away."""
        if target.partition("?")[0] in _KINDS:
            return target
        return target.removeprefix(self._public_path)

    def _warn(self, path: str, reason: str) -> None:
        """Count a request that Twilio did not sign, and log the first in a while."""
        _signature_failures(reason).inc()
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _WARN_EVERY
            log.warning(
                "refused a request that Twilio did not sign; if this happens to all, webhooks.public_url is not what "
                "Twilio calls or accounts have the wrong auth_token",
                path=path,
                reason=reason,
            )

    def _measure(self, status: int, started: float) -> None:
        _answers(status).inc()
        metrics.WEBHOOK_SECONDS.observe(self._clock.monotonic() - started)


async def _read(request: web.BaseRequest) -> Form:
    """Return the form in the body of *request*, which is small and comes at once, or is refused."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (web.RequestPayloadError, ConnectionError):
        raise web.HTTPBadRequest from None
    return _form(body.decode("utf-8", "replace"))


def _form(text: str) -> Form:
    try:
        return Form(text)
    except ValueError:
        raise web.HTTPBadRequest from None


@asynccontextmanager
async def open_webhooks(webhooks: Webhooks, listen: Listen) -> AsyncIterator[Listen]:
    """Answer at *listen* (port 0: any) until the context ends, then what has come by then.

    `DispatcherError` where it can't listen.
    """
    runner = web.ServerRunner(Door(webhooks.answer), shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, listen.host, listen.port, backlog=1024).start()
        except OSError as error:
            raise DispatcherError(
                f"cannot listen on webhooks.listen {listen}: {error.strerror}; stop what does, or take another port"
            ) from error
        yield Listen(host=listen.host, port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


# Finding a metric's child costs more than counting in it.
_answers = cache(metrics.WEBHOOK_ANSWERS.labels)
_callbacks = cache(metrics.CALLBACKS.labels)
_signature_failures = cache(metrics.WEBHOOK_SIGNATURES.labels)
