"""Looks through a campaign's recipients before anything is published: how many, what they cost, what is wrong."""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from dispatcher.compliance.content import ContentRules
from dispatcher.domain.campaign import Campaign
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Carrier
from dispatcher.domain.job import Job
from dispatcher.domain.segments import Encoding, count_segments, encoding_of
from dispatcher.domain.settings import ContentSettings
from dispatcher.publishing.recipients import Rejected, open_recipients

NO_RULES: Final = ContentSettings()
_ROWS_BETWEEN_REPORTS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What publishing the campaign would mean.

    *rows* are numbered from 1, of which *rejected* are no jobs; those are in the file *rejects*. *segments* are
    counted by carrier (None: unknown), messages with media as one; *messages* by encoding, None for media.
    *warnings* counts the jobs that a rule of `content` warns of, by rule. *fingerprint* stands for the contents of both
    files, and for the rules that reject rows.
    """

    rows: int
    rejected: int
    rejects: Path
    messages: Mapping[Encoding | None, int]
    segments_by_encoding: Mapping[Encoding | None, int]
    segments: Mapping[Carrier | None, int]
    warnings: Mapping[str, int]
    fingerprint: str

    @property
    def recipients(self) -> int:
        """Rows that are jobs."""
        return self.rows - self.rejected

    @property
    def total_segments(self) -> int:
        """What the campaign costs."""
        return sum(self.segments.values())


def survey(campaign: Campaign, progress: Callable[[int, int], None], content: ContentSettings = NO_RULES) -> Survey:
    """Read all of *campaign*'s recipients and write the rejects file beside them: what *content* refuses is no job.

    *progress* is told now and then how many rows have been read, and of how many, a guess by the bytes.
    `DispatcherError` when the recipients cannot be read, or their columns do not fit.
    """
    try:
        return _survey(campaign, progress, content)
    except OSError as error:
        path = error.filename or campaign.recipients
        raise DispatcherError(f"{path} cannot be read or written: {(error.strerror or str(error)).lower()}") from error


def _survey(campaign: Campaign, progress: Callable[[int, int], None], content: ContentSettings) -> Survey:
    messages: Counter[Encoding | None] = Counter()
    segments_by_encoding: Counter[Encoding | None] = Counter()
    segments: Counter[Carrier | None] = Counter()
    warnings: Counter[str] = Counter()
    contents = fingerprint(campaign, content)
    rules = content_rules(content, lambda rule: warnings.update((rule,)))
    row = 0
    with open_recipients(campaign, rules) as recipients, _Rejects(campaign.recipients, recipients.columns) as rejects:
        for row, found in recipients:
            if row % _ROWS_BETWEEN_REPORTS == 0:
                progress(row, row * recipients.size // recipients.position)
            if isinstance(found, Rejected):
                rejects.add(found)
                continue
            encoding, cost = _weigh(found)
            messages[encoding] += 1
            segments_by_encoding[encoding] += cost
            segments[found.carrier] += cost
    return Survey(
        rows=row,
        rejected=rejects.count,
        rejects=rejects.path,
        messages=messages,
        segments_by_encoding=segments_by_encoding,
        segments=segments,
        warnings=warnings,
        fingerprint=contents,
    )


def content_rules(content: ContentSettings, warned: Callable[[str], None]) -> ContentRules | None:
    """Return what holds bodies against *content*, None where it has no rules; *warned* is told a rule that warns."""
    return ContentRules(content.rules, content.words, lambda rule, *_: warned(rule)) if content.rules else None


def fingerprint(campaign: Campaign, content: ContentSettings = NO_RULES) -> str:
    """Return a hash of what is in the campaign file and its recipients, and of what *content* refuses."""
    whole = hashlib.sha256()
    for path in (campaign.file, campaign.recipients):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    if refused := sorted(rule for rule, action in content.rules.items() if action == "refuse"):
        whole.update(repr([(rule, sorted(content.words.get(rule, ()))) for rule in refused]).encode())
    return whole.hexdigest()


def _weigh(job: Job) -> tuple[Encoding | None, int]:
    if job.media_urls or job.body is None:
        return None, 1
    return encoding_of(job.body), count_segments(job.body)


class _Rejects(AbstractContextManager["_Rejects"]):
    """The file of rows that are no jobs: there when there are some, gone when there are none."""

    def __init__(self, recipients: Path, columns: list[str]) -> None:
        self.path = recipients.with_suffix(".rejects.csv")
        self.count = 0
        self._columns = columns
        self._file: TextIO | None = None
        self._writer: Any = None

    def add(self, rejected: Rejected) -> None:
        """Write a row, its place and what is wrong with it."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(["line", "reason", *self._columns])
        self._writer.writerow([rejected.line, rejected.reason, *rejected.fields])
        self.count += 1

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        else:
            # One of an earlier run would mislead.
            self.path.unlink(missing_ok=True)
