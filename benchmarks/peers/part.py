"""What every program that is measured beside the dispatcher is told: where its jobs, Twilio and its results are."""

import argparse
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """The arguments of a peer. *connections* is how many requests it may have in flight."""

    kafka: str
    jobs: str
    results: str
    group: str
    url: str
    sid: str
    token: str
    connections: int


def read_part() -> Part:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    for name in ("kafka", "jobs", "results", "group", "url", "sid", "token"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--connections", type=int, default=128)
    return Part(**vars(parser.parse_args()))
