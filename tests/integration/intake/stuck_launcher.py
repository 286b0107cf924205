"""Runs `dispatcher` with something wrong in its intake.

    python -m tests.integration.intake.stuck_launcher '{"fault": "fetching ends"}' run -c FILE

The first argument is a JSON object: *fault* (of `faults.FAULTS`) befalls each consumer whenever a job was received;
with *past* true what the last owners left is never read to its end. Looks come every *look_every* seconds.
"""

import asyncio
import json
import sys
from typing import Any

from dispatcher.intake import consumer
from tests.integration.intake.faults import FAULTS


def main() -> None:
    """Arrange what goes wrong and run the program."""
    wanted = json.loads(sys.argv.pop(1))
    module: Any = consumer
    module.LOOK_EVERY = wanted.get("look_every", module.LOOK_EVERY)
    intake: Any = consumer.Intake
    if "fault" in wanted:
        befall, _ = FAULTS[wanted["fault"]]
        take = intake._take

        def take_and_break(self: Any, *arguments: Any) -> None:
            take(self, *arguments)
            befall(self._consumer)

        intake._take = take_and_break
    if wanted.get("past"):

        async def read_for_ever(self: Any, *_: Any) -> None:
            consumer.log.info("reading the past")
            try:
                await asyncio.Event().wait()
            finally:
                # As a consumer that is stopped meanwhile would.
                assert self._consumer is not None

        intake._read_past = read_for_ever
    from dispatcher.__main__ import main as run  # noqa: PLC0415 - once all is set

    run()


if __name__ == "__main__":
    main()
