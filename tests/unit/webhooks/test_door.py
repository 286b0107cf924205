import asyncio
from typing import Any
from unittest.mock import Mock

from aiohttp import web

from dispatcher.webhooks.door import Door


async def test_nobody_who_has_left_is_remembered() -> None:
    async def handle(_request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError("nobody asks")

    door = Door(handle)
    client: Any = Mock(_task_handler=None)
    transport = Mock(spec=asyncio.Transport)
    door.connection_made(client, transport)
    door.connection_lost(client)
    assert not door.connections
    assert not door._silent
