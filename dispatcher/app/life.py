"""One life of a supervised worker: a process, from its start to its end, and what it says meanwhile."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Self

from dispatcher.app.post import Post

# What the sentence begins with that a process ends with when an operator has to mend something (`__main__`).
SENTENCE = b"dispatcher: "
LONGEST_LINE = 1024 * 1024


class Life:
    """A running process; what it says goes to our stderr by whole lines, so that two workers never share one.

    The sentence with which it ends is kept back as *last_words*: whoever knows the exit code shows it.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._rest = b""
        self.last_words = ""

    @classmethod
    async def begin(cls, command: Sequence[str], post: Post) -> Self:
        """Start *command* at *post*; `OSError` when the machine does not let us."""
        # Its stdin is its lifeline (see `Post`). A session of its own: Ctrl-C at the terminal reaches us alone, and the
        # worker hears of it once, from us.
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **post.environment()},
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )

    @property
    def code(self) -> int | None:
        """The exit code, once it has ended; below zero the signal that killed it."""
        return self._process.returncode

    @property
    def ended_by(self) -> str:
        """How it ended, for the log."""
        code = self._process.returncode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"

    async def to_the_end(self) -> None:
        """Pass on what it says, and come back when it has ended; can be cancelled, and called again to go on."""
        stream = self._process.stderr
        while stream is not None and (chunk := await stream.read(LONGEST_LINE)):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                lines.append(self._rest)
                self._rest = b""
            self._say(lines)
        if self._rest:
            self._say([self._rest])
            self._rest = b""
        await self._process.wait()

    async def end(self, *, within: float) -> None:
        """Ask it to end (SIGTERM), and kill it when it has not in so many seconds."""
        self._process.terminate()
        try:
            async with asyncio.timeout(within):
                await self.to_the_end()
        except TimeoutError:
            self.kill()
            await self.to_the_end()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        if self.code is None:
            self._process.kill()

    def _say(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.startswith(SENTENCE):
                self.last_words = line.removeprefix(SENTENCE).decode(errors="replace")
            else:
                sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()
