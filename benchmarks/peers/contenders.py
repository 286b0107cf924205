"""The programs that do the dispatcher's job, as others write them, and how each is started."""

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.stage import MAIN, Process, Stage

OURS: Final = "dispatcher"
# By which machines are compared.
YARDSTICK: Final = "Go net/http"
# What the dispatcher may cost, as a part of what others cost.
BOUNDS: Final = {YARDSTICK: 1.0, "twilio SDK": 0.25, "aiohttp tuned": 0.5}
_GO: Final = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Contender:
    """A program for the job.

    *part* of the backlog is enough to measure it; the dispatcher, which reads ahead, has to do all of it.
    """

    name: str
    command: Sequence[str] = ()
    part: float = 1.0

    async def start(self, stage: Stage, *, connections: int) -> Process:
        """Start it on *stage*, with so many requests in flight; its results topic has to be there."""
        if self.name == OURS:
            return await stage.start_worker(ready=False)
        part = {
            "kafka": stage.kafka,
            "jobs": stage.topic(),
            "results": stage.config["topics"]["results"],
            "group": stage.config["kafka"]["group_id"],
            "url": stage.simulator_url,
            "sid": MAIN["sid"],
            "token": MAIN["auth_token"],
            "connections": str(connections),
        }
        told = [f"--{name}={value}" for name, value in part.items()]
        if self.command[0] == "-m":
            return await stage.start(*told, name="peer", program=self.command)
        log = stage.folder / "peer.log"
        with log.open("ab") as output:
            started = await asyncio.create_subprocess_exec(*self.command, *told, stdout=output, stderr=output)
        process = Process("peer", started, log)
        stage.started.append(process)
        return process


def contenders_of(folder: Path) -> list[Contender]:
    """Return the dispatcher and its peers; what has to be built is built into *folder*."""
    return [
        Contender(OURS),
        *_go(folder),
        Contender("aiohttp tuned", ("-m", "benchmarks.peers.aiohttp_tuned"), part=0.5),
        Contender("twilio SDK", ("-m", "benchmarks.peers.sdk"), part=0.25),
    ]


def _go(folder: Path) -> list[Contender]:
    """Return the two Go programs, built just now; none where that can't be done."""
    if shutil.which("go") is None:
        print("the Go programs are left out: there is no Go here")
        return []
    program = folder / "go-peer"
    command = ["go", "build", "-o", str(program), "."]
    built = subprocess.run(command, cwd=_GO, capture_output=True, text=True, check=False)
    if built.returncode:
        print(f"the Go programs are left out, since they do not build here: {built.stderr.strip()}")
        return []
    return [Contender(f"Go {client}", (str(program), f"--client={client}")) for client in ("net/http", "fasthttp")]
