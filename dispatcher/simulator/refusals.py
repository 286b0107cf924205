"""What Twilio refuses a request with: one line a code.

https://www.twilio.com/docs/api/errors. The HTTP status of 63017 and 21701 is published nowhere: 63017 gets the 429
that its neighbour 63038 carries (https://github.com/twilio/twilio-php/issues/661), 21701 the 400 of its family.
"""

from collections.abc import Mapping
from typing import NamedTuple

import orjson


class Refusal(NamedTuple):
    """The HTTP status and the sentence that come with a code."""

    status: int
    message: str


TOO_MANY_REQUESTS = 20429
INTERNAL_ERROR = 20500
QUEUE_FULL = 21611
FAMILY_TOO_FAST = 63017
NOT_BETWEEN_THESE = 21612
SERVICE_IS_EMPTY = 21703

REFUSALS: Mapping[int, Refusal] = {
    20001: Refusal(400, "Bad request: the stand-in schedules no messages; send without ScheduleType and SendAt"),
    20003: Refusal(401, "Authenticate"),
    20004: Refusal(405, "Method not allowed"),
    20404: Refusal(404, "The requested resource was not found"),
    TOO_MANY_REQUESTS: Refusal(429, "Too Many Requests"),
    INTERNAL_ERROR: Refusal(500, "An internal server error has occurred"),
    20503: Refusal(503, "Service unavailable. Please try again."),
    21211: Refusal(400, "Invalid 'To' Phone Number"),
    21212: Refusal(400, "Invalid 'From' Number"),
    21408: Refusal(400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21602: Refusal(400, "Message body is required."),
    21603: Refusal(400, "A 'From' phone number is required."),
    21604: Refusal(400, "A 'To' phone number is required."),
    21606: Refusal(400, "The 'From' phone number is not a valid message-capable Twilio phone number"),
    21609: Refusal(400, "Invalid 'StatusCallback'"),
    21610: Refusal(400, "Attempt to send to unsubscribed recipient"),
    QUEUE_FULL: Refusal(429, "SMS queue is full."),
    NOT_BETWEEN_THESE: Refusal(
        400, "Message cannot be sent with the current combination of 'To' and/or 'From' parameters"
    ),
    21614: Refusal(400, "'To' number is not a valid mobile number"),
    21617: Refusal(400, "The concatenated message body exceeds the 1600 character limit"),
    21619: Refusal(400, "A Message Body, Media URL or Content SID is required"),
    21620: Refusal(400, "Invalid media URL(s)"),
    21623: Refusal(400, "Number of media files exceeds allowed limit"),
    21624: Refusal(400, "Invalid 'ValidityPeriod'"),
    21659: Refusal(400, "'From' is not a Twilio phone number"),
    21660: Refusal(400, "Mismatch between the 'From' number and the account"),
    21701: Refusal(400, "The Messaging Service does not exist"),
    SERVICE_IS_EMPTY: Refusal(400, "The Messaging Service contains no phone numbers"),
    21705: Refusal(400, "The Messaging Service is invalid"),
    FAMILY_TOO_FAST: Refusal(429, "Rate limit exceeded"),
}

# The numbers of Twilio's test credentials; here they work with any: https://www.twilio.com/docs/iam/test-credentials
MAGIC_TO: Mapping[str, int] = {
    "+15005550001": 21211,
    "+15005550002": NOT_BETWEEN_THESE,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
MAGIC_FROM: Mapping[str, int] = {
    "+15005550001": 21212,
    "+15005550007": 21606,
    "+15005550008": QUEUE_FULL,
}
# Takes whatever is sent from it: nothing is stored, nothing called back.
MAGIC_FROM_GOOD = "+15005550006"


def error_body(code: int) -> bytes:
    """Return the JSON that a refusal with *code* carries."""
    status, message = REFUSALS[code]
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    return orjson.dumps({"code": code, "message": message, "more_info": more_info, "status": status})
