import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.publishing.partitioner import murmur2, partition_of


# From the tests of Kafka's own Java client (UtilsTest.testMurmur2), as unsigned numbers.
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_agrees_with_kafkas_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


@given(st.binary(max_size=63))
def test_agrees_with_aiokafka(key: bytes) -> None:
    assert murmur2(key) == of_aiokafka(key)


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.integers(1, 200))
def test_a_recipient_lands_where_every_other_publisher_puts_it(to: str, partitions: int) -> None:
    everywhere = list(range(partitions))

    assert partition_of(to.encode(), partitions) == DefaultPartitioner()(to.encode(), everywhere, everywhere)
