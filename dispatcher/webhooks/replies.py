"""What is answered to an inbound message: Twilio texts it to whoever wrote."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

from dispatcher.domain.settings import Replies
from dispatcher.optouts.words import Spoken

# https://www.twilio.com/docs/messaging/twiml
NOTHING_TO_SAY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
_MESSAGE = '<?xml version="1.0" encoding="UTF-8"?><Response><Message>{}</Message></Response>'


def reply_to(spoken: Spoken | None, number: str | None, replies: Mapping[str, Replies]) -> str:
    """Return the TwiML for who has *spoken* to our *number*; a language without an answer gets the English one."""
    if spoken is None:
        return NOTHING_TO_SAY
    languages = replies.get(number or "", {})
    for language in (spoken.language, "en"):
        if text := languages.get(language, {}).get(spoken.word):
            return _MESSAGE.format(escape(text))
    return NOTHING_TO_SAY
