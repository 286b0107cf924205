"""Which stage of a message's way a file of code belongs to."""

from collections.abc import Mapping
from functools import cache
from typing import Final

# Files of the package, by how they begin, in the order of the message's way. What is not among them (the clock, the
# metrics, the words of `domain`, other libraries) works for the stage that called it.
STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "read": ("intake/consumer", "intake/offsets", "intake/commits"),
    "decode": ("intake/decode", "domain/segments"),
    "place": ("compliance/", "sharding/", "engine/placement", "engine/repeats"),
    "pace": ("pacing/", "engine/driver"),
    "intent": ("delivery/ledger", "domain/journal"),
    "request bytes": ("delivery/request",),
    "POST": ("delivery/twilio", "transport/exchange", "transport/wire", "transport/timer_wheel"),
    "judge": ("delivery/verdict",),
    "result": ("outcomes/", "transport/fenced_producer"),
    "between the stages": ("engine/pipeline", "app/worker"),
}
ORDER: Final = tuple(STAGES)


@cache
def stage_of(filename: str) -> str | None:
    """Return the stage that the code in *filename* belongs to by itself; None for what works for its caller."""
    _, package, path = filename.rpartition("dispatcher/")
    if not package:
        return None
    return next((stage for stage, files in STAGES.items() if path.startswith(files)), None)
