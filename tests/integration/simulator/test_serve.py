import asyncio
import io
import socket
from dataclasses import replace

import aiohttp
import pytest
from rich.console import Console

from dispatcher.app.simulator import serve
from dispatcher.clock import SystemClock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Fleet
from dispatcher.domain.settings import KafkaSettings, Settings, SimulatorSettings, TwilioSettings
from dispatcher.domain.topics import Topics

MAIN = "AC" + "1" * 32


@pytest.fixture
def settings(fleet: Fleet) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        twilio=TwilioSettings(base_url="http://127.0.0.1:0"),
        webhooks=None,
        fleet=fleet,
        topics=Topics(),
        priorities=(),
        metrics=None,
        simulator=SimulatorSettings(latency_low=0.0, latency_high=0.0, tail_share=0.0),
    )


class Terminal(io.StringIO):
    """Collects what is printed, and says when the first line is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.has_line = asyncio.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if "\n" in self.getvalue():
            self.has_line.set()
        return count


async def test_it_serves_until_told_to_stop_and_prints_what_it_saw(settings: Settings) -> None:
    stop, printed = asyncio.Event(), Terminal()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(settings, SystemClock(), stop, console=Console(file=printed)))
        async with asyncio.timeout(10):
            await printed.has_line.wait()
        url = printed.getvalue().split()[4].rstrip(";")
        form = {"To": "+12065550142", "From": "72345", "Body": "Hi"}
        async with aiohttp.ClientSession() as session:
            for to in ("+12065550142", "+15005550004"):
                await session.post(
                    f"{url}/2010-04-01/Accounts/{MAIN}/Messages.json",
                    data=form | {"To": to},
                    headers={"Authorization": aiohttp.encode_basic_auth(MAIN, "main-token")},
                )
        stop.set()
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert ["72345", "10,000", "1", "1", "1", "1", "0.00", "s"] in lines
    assert ["promo-10dlc/att", "10,000", "0", "0", "0", "0", "0.00", "s"] in lines
    assert ["main", "2", "1", "1", "1", "x", "21610"] in lines
    assert "1 messages accepted, 0 of them for a second time." in printed.getvalue()


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("https://api.twilio.com", "speaks plain HTTP"),
        ("http://192.0.2.1:8090", "--allow-remote"),
        ("http://simulator:8090", "--allow-remote"),
    ],
)
async def test_it_refuses_to_listen_where_others_may_hear(settings: Settings, base_url: str, said: str) -> None:
    elsewhere = replace(settings, twilio=TwilioSettings(base_url=base_url))
    with pytest.raises(DispatcherError, match=said):
        await serve(elsewhere, SystemClock(), asyncio.Event(), console=Console(file=io.StringIO()))


async def test_a_port_that_is_taken_is_named(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        elsewhere = replace(settings, twilio=TwilioSettings(base_url=f"http://{address}"))
        with pytest.raises(DispatcherError, match=f"cannot listen at {address}"):
            await serve(elsewhere, SystemClock(), asyncio.Event(), console=Console(file=io.StringIO()))


async def test_remote_is_possible_when_allowed(settings: Settings) -> None:
    everywhere = replace(settings, twilio=TwilioSettings(base_url="http://0.0.0.0:0"))
    stop = asyncio.Event()
    stop.set()
    printed = io.StringIO()
    await serve(everywhere, SystemClock(), stop, console=Console(file=printed), allow_remote=True)
    assert "0 messages accepted" in printed.getvalue()
