"""Whether an instance says that it is ready: ``GET /healthz`` gives 2xx."""

import asyncio
import contextlib

_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def healthy(port: int, timeout_seconds: float) -> bool:
    """Whether the instance on that port answers its health check well and in time."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_REQUEST)
            line = await reader.readline()
    except (OSError, TimeoutError, ValueError):
        return False
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
    return line[:5] == b"HTTP/" and line[9:10] == b"2"
