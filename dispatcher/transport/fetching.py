"""How a consumer fetches: what of, and whether Kafka gathers before it answers. aiokafka asks that only once."""

from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka import TopicPartition

# A fetch costs as much as ten messages: while jobs come, Kafka answers it when it has so many bytes of them, about 60
# jobs, or after so many seconds.
GATHER_BYTES = 12288
GATHER_FOR = 0.030
# While hardly any come it answers at the first, or after so many seconds: a fetch of other partitions has to wait for
# that, and what has just been looked at again (`intake.held`) must not wait for long.
REST_FOR = 0.1


def steer(consumer: Any, *, gathers: bool, without: AbstractSet[TopicPartition]) -> None:
    """Let *consumer*, which runs, fetch like that from now on, and nothing of the partitions *without*.

    Unlike one that is paused, a partition that is left out costs nothing: aiokafka waits for each of those it paused to
    be resumed, twice a fetch, which with sixty takes 0.2 ms.
    """
    fetcher = consumer._fetcher  # noqa: SLF001 - it reads all of this for each fetch, and there is no door to it
    fetcher._fetch_min_bytes = GATHER_BYTES if gathers else 1  # noqa: SLF001 - same
    fetcher._fetch_max_wait_ms = int((GATHER_FOR if gathers else REST_FOR) * 1000)  # noqa: SLF001 - same
    choose = type(fetcher)._get_actions_per_node  # noqa: SLF001 - same
    fetcher._get_actions_per_node = lambda assignment: choose(fetcher, _Part(assignment, without))  # noqa: SLF001 - same


class _Part:
    """Of an *assignment*, which is aiokafka's, all *without* some partitions."""

    __slots__ = ("state_value", "tps")

    def __init__(self, assignment: Any, without: AbstractSet[TopicPartition]) -> None:
        self.tps = assignment.tps - without
        self.state_value = assignment.state_value
