"""A job: one message that somebody wants sent, as it stands in the jobs topics."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from dispatcher.domain.fleet import Carrier
from dispatcher.domain.phone import E164_PATTERN

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

MAX_BODY_CHARACTERS = 1600  # Twilio's own bound, error 21617
MAX_MEDIA_URLS = 10
# What proxies and servers on the way are sure to take.
MAX_MEDIA_URL_CHARACTERS = 2048


# With this and a number ends the id of a message that follows one which was not delivered.
SECOND_MARK = "~"
# A host and what follows, without user, white space or anything beyond ASCII.
_MEDIA_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:[/?][!-~]*)?", re.IGNORECASE)


def objection_to_media_url(url: str) -> str | None:
    """Say what keeps Twilio from fetching media from *url*, without showing it; None where nothing is to be seen."""
    if len(url) > MAX_MEDIA_URL_CHARACTERS:
        return f"it has {len(url)} characters, and at most {MAX_MEDIA_URL_CHARACTERS} are taken"
    if _MEDIA_URL.fullmatch(url) is None:
        return "it has to be one that Twilio can fetch, like https://example.com/picture.png"
    return None


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The contract with whoever publishes. One of *body*, *template* or *media_urls* is needed."""

    id: Name
    campaign: Name
    to: Annotated[str, msgspec.Meta(pattern=E164_PATTERN)]
    pool: Name
    body: str | None = None
    template: str | None = None
    vars: Mapping[str, str] | None = None
    media_urls: tuple[str, ...] = ()
    send_at: Instant | None = None
    expires_at: Instant | None = None
    timezone: str | None = None
    carrier: Carrier | None = None
    tags: Mapping[str, str] | None = None


def is_second(job_id: str) -> bool:
    """Say whether *job_id* is that of a message that follows one which was not delivered."""
    _, mark, number = job_id.rpartition(SECOND_MARK)
    return bool(mark) and number.isdigit()
