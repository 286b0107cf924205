"""What tests of every tier may ask for."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from dispatcher.broker import jars
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.domain.errors import DispatcherError
from tests.clock import FakeClock


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a real Kafka, shared by the whole run: take topics and groups of your own (`unique`)."""
    try:
        jars.find_java()
        jars.fetch()
    except DispatcherError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with LocalKafka() as broker:
        yield broker.address


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Turns a name into one that nobody else uses, for topics and groups."""
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{suffix}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def _aiokafka_may_speak_again() -> Iterator[None]:
    """Commands that run within the tests' process silence it for good."""
    yield
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
