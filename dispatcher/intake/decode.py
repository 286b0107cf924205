"""Bytes to a job, or the reason why they are none."""

from collections.abc import Sequence

import msgspec

from dispatcher.domain.fleet import CARRIERS
from dispatcher.domain.job import MAX_MEDIA_URLS, Job, objection_to_media_url
from dispatcher.domain.templates import render

# An unknown field may have a name of a megabyte.
LONGEST_REASON = 200

_decoder = msgspec.json.Decoder(Job)


class NotAJobError(Exception):
    """The record is no job; the text is a sentence without any of the recipient's data. It becomes a dead letter."""


def decode(value: bytes | None) -> Job:
    """Return the job in *value*, with its body rendered; `NotAJobError` says what is wrong and where."""
    if not value:
        raise NotAJobError("the record is empty")
    try:
        job = _decoder.decode(value)
    except msgspec.ValidationError as error:
        raise NotAJobError(_sentence(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAJobError(f"the record is not JSON: {error}") from error
    body, template, media_urls = job.body, job.template, job.media_urls
    if body is not None and template is not None:
        raise NotAJobError("the job has both a body and a template; give one of them")
    if body is None and template is None and not media_urls:
        raise NotAJobError("the job has no content; give body, template or media_urls")
    if media_urls:
        _check_media(media_urls)
    return job if template is None else _rendered(job, template)


def _check_media(urls: Sequence[str]) -> None:
    """Refuse what Twilio could not fetch; the URLs are not shown, since they may tell of the recipient."""
    if len(urls) > MAX_MEDIA_URLS:
        raise NotAJobError(f"the job has {len(urls)} media_urls; Twilio takes at most {MAX_MEDIA_URLS}")
    for place, url in enumerate(urls):
        if (objection := objection_to_media_url(url)) is not None:
            raise NotAJobError(f"media_urls[{place}] is no URL for media: {objection}")


def _rendered(job: Job, template: str) -> Job:
    try:
        body = render(template, job.vars or {})
    except ValueError as error:
        raise NotAJobError(f"the template cannot be rendered: {error}") from error
    return msgspec.structs.replace(job, body=body, template=None, vars=None)


def _sentence(error: msgspec.ValidationError) -> str:
    """Return msgspec's words, which name the field; but neither its value nor a regular expression."""
    text = str(error)
    field = text.rpartition("$.")[2].rstrip("`")
    if "matching regex" in text:
        return f"the job is malformed: {field} has to be an E.164 number, like +12065550142"
    if text.startswith("Invalid enum value"):
        return f"the job is malformed: {field} has to be one of {', '.join(CARRIERS)}"
    return f"the job is malformed: {text[:1].lower()}{text[1:LONGEST_REASON]}"
