"""The check of ``doctor`` for Redis, where the project role keeps what readers ask for."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ctrlplane_stream.commands.findings import Finding, ok, wrong
from ctrlplane_stream.settings import Settings

_ANSWER_SECONDS = 3.0


async def check_redis(settings: Settings) -> list[Finding]:
    """Whether it answers. Changes nothing; never tells the URL, which may carry a password."""
    async with Redis.from_url(settings.redis_url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS) as client:
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            remedy = "see that it runs and that CTRLPLANE_REDIS_URL names it"
            return [wrong("redis", f"it does not answer ({type(error).__name__})", remedy)]
    return [ok("redis", "it answers")]
