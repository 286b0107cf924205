"""What is no job: kept with the reason in headers, so that it can be mended and replayed."""

from dispatcher.domain.message import Origin
from dispatcher.outcomes.publisher import Record


def dead_letter(*, key: bytes | None, value: bytes | None, reason: str, origin: Origin, offset: int, at: str) -> Record:
    """Return the record at *offset* of *origin* as a dead letter. Headers: reason, topic, partition, offset, at."""
    headers = [
        ("reason", reason.encode()),
        ("topic", origin.topic.encode()),
        ("partition", str(origin.partition).encode()),
        ("offset", str(offset).encode()),
        ("at", at.encode()),
    ]
    return Record(key, value or b"", headers, origin, offset)
