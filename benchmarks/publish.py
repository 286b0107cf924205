"""How many rows a second does `dispatcher publish` turn into jobs, from a CSV of a million?"""

import asyncio
import csv
import os
import tempfile
from itertools import cycle, islice, product
from pathlib import Path
from typing import Final

from benchmarks import bounds, report
from benchmarks.stage import open_stage
from dispatcher.broker.local_kafka import LocalKafka
from dispatcher.clock import SystemClock

ROWS: Final = 1_000_000
MOST_SECONDS: Final = 30.0
CAMPAIGN: Final = """\
campaign: million
pool: marketing
template: "Hi {{ first_name or 'there' }}, spring is here: {{ offer }} in our {{ city }} store. Reply STOP to opt out."
recipients: million.csv
"""
FIRST_NAMES: Final = ("Ana", "Milo", "Zoe", "Ben", "Ida", "Noor", "Li", "Otis", "Fay", "")
CARRIERS: Final = ("att", "tmobile", "verizon", "other", "")
CITIES: Final = ("Boise", "Portland", "Reno", "Tacoma")
OFFERS: Final = ("20% off all shoes", "free repairs on every bike")

clock = SystemClock()


async def main() -> None:
    """Run the benchmark."""
    load = os.getloadavg()[0]
    with LocalKafka() as kafka, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "million.csv")
        (folder / "million.yaml").write_text(CAMPAIGN, encoding="utf-8")
        async with open_stage(folder, kafka.address) as stage:
            began = clock.monotonic()
            publisher = await stage.start(
                "publish", "-c", str(stage.config_file), str(folder / "million.yaml"), name="publisher"
            )
            code = await publisher.process.wait()
            seconds = clock.monotonic() - began
            if code:
                raise RuntimeError(publisher.log.read_text(encoding="utf-8")[-2000:])
            jobs = await stage.count(stage.topic())
    figures = {
        "load average before and after": [round(load, 1), round(os.getloadavg()[0], 1)],
        "rows": ROWS,
        "jobs in the topic": jobs,
        "seconds, with the start": round(seconds, 1),
        "rows/s": round(ROWS / seconds),
        f"below {MOST_SECONDS:g} s": bounds.verdict(holds=seconds < MOST_SECONDS),
    }
    report.write("publish", figures)
    bounds.insist(figures)


def write_rows(file: Path) -> None:
    """Write a million recipients to *file*."""
    values = cycle(product(FIRST_NAMES, CARRIERS, CITIES, OFFERS))
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(("to", "first_name", "carrier", "city", "offer"))
        rows.writerows((f"+1206{2_000_000 + number:07d}", *value) for number, value in enumerate(islice(values, ROWS)))


if __name__ == "__main__":
    asyncio.run(main())
