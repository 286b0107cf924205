"""What may keep the dispatcher from doing its job, and what whoever catches it does.

A message that Twilio refuses is no error but an outcome (`dispatcher.domain.outcome`).
"""

from dataclasses import dataclass


class DispatcherError(Exception):
    """Something keeps us from working; the text is one sentence that says what to do next.

    The command line prints it and exits with 2.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong in a file a person wrote, and what would be right.

    *line* and *column* count from 1; 0 means the mistake has no place of its own.
    """

    file: str
    line: int
    column: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.what}"


class ConfigError(DispatcherError):
    """A config or campaign file is wrong; carries every mistake at once, in the file's order."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


class KafkaUnavailableError(DispatcherError):
    """Kafka cannot be reached or refuses us; whoever catches it tries again later or leaves the process."""
