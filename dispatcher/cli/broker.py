"""`dispatcher broker`: a local Kafka for development."""

from pathlib import Path
from typing import Annotated

import typer


def broker(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where Kafka listens, on 127.0.0.1.")] = 9092,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the data here.", show_default="forgotten at the end"),
    ] = None,
) -> None:
    """Run a local single-node Apache Kafka for development.

    Needs Java 17 or newer, and Maven the first time, to fetch Kafka. Ends on Ctrl-C.

    Examples:
        dispatcher broker
        dispatcher broker --port 19092 --data ./kafka-data
    """
    from dispatcher.broker import jars
    from dispatcher.broker.local_kafka import LocalKafka

    if not jars.are_fetched():
        typer.echo(f"Fetching Apache Kafka {jars.VERSION} with Maven, once ...", err=True)
    with LocalKafka(port=port, data_dir=data) as kafka:
        try:
            typer.echo(f"Kafka {jars.VERSION} answers at {kafka.address}; Ctrl-C ends it.")
            kafka.wait()
        except KeyboardInterrupt:
            typer.echo("Stopping Kafka ...", err=True)
