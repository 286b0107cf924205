"""How many segments a text costs: the unit in which Twilio and the carriers count.

140 octets a segment (3GPP TS 23.038, 23.040): 160 GSM-7 septets alone and 153 in each part of a longer text;
70 and 67 UTF-16 units when one character lies outside GSM-7. An escaped GSM-7 character is never split over two
parts, and neither is what a reader sees as one character, as in Twilio's own calculator
(https://github.com/TwilioDevEd/message-segment-calculator).
"""

import re
from functools import lru_cache
from typing import Literal

from dispatcher.domain.graphemes import iterate_graphemes

Encoding = Literal["GSM-7", "UCS-2"]

# Units that fit into a message of one part, and into each part of a longer one: septets, and 16 bits each.
_GSM7_ALONE, _GSM7_EACH = 160, 153
_UCS2_ALONE, _UCS2_EACH = 70, 67
_UTF16 = "utf-16-le"
_HIGH_SURROGATE = 0xD8
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = "\f^{}\\[~]|€"
_ESCAPE = "\x1b"
_ALL_BASIC = re.compile(f"[{re.escape(_BASIC)}]*")
_ALL_GSM7 = re.compile(f"[{re.escape(_BASIC + _EXTENDED)}]*")
# Latin, Greek, Cyrillic, punctuation, kana and Chinese: one unit each, and none belongs to its neighbour.
_APART = (
    "[\0-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u1fff\u2010-\u2027\u20a0-\u20bf\u2100-\u23ff\u2500-\u25ff"
    "\u3000-\u3029\u3030-\u3098\u309b-\u30ff\u3400-\u9fff\uff00-\uff9d]"
)
_ALL_APART = re.compile(f"{_APART}*")
_TO_LAST_BOUNDARY = re.compile(f".*{_APART}(?={_APART})", re.DOTALL)


def encoding_of(body: str) -> Encoding:
    """Return how *body* travels: one character outside GSM-7 turns the whole of it into UCS-2."""
    return "GSM-7" if _ALL_GSM7.fullmatch(body) else "UCS-2"


@lru_cache(maxsize=256)  # most of a campaign's messages have their text in common
def count_segments(body: str) -> int:
    """Return how many segments *body* takes; an empty body takes one."""
    if _ALL_BASIC.fullmatch(body):
        return 1 if len(body) <= _GSM7_ALONE else -(-len(body) // _GSM7_EACH)
    if _ALL_GSM7.fullmatch(body):
        return _count_gsm7(_escaped(body))
    if _ALL_APART.fullmatch(body):
        return 1 if len(body) <= _UCS2_ALONE else -(-len(body) // _UCS2_EACH)
    return _count_ucs2(body.encode(_UTF16, "surrogatepass"))


def _escaped(body: str) -> str:
    for character in _EXTENDED:
        body = body.replace(character, _ESCAPE + character)
    return body


def _count_gsm7(septets: str) -> int:
    if len(septets) <= _GSM7_ALONE:
        return 1
    segments, start = 1, 0
    while len(septets) - start > _GSM7_EACH:
        start += _GSM7_EACH
        start -= septets[start - 1] == _ESCAPE
        segments += 1
    return segments


def _count_ucs2(octets: bytes) -> int:
    if len(octets) <= 2 * _UCS2_ALONE:
        return 1
    segments, start = 1, 0
    while len(octets) - start > 2 * _UCS2_EACH:
        start = _next_cut(octets, start)
        segments += 1
    return segments


def _next_cut(octets: bytes, start: int) -> int:
    """Return where the part that begins at *start* ends, given that the text goes on beyond it."""
    end = start + 2 * _UCS2_EACH
    # A sure boundary near the end saves looking at every character before it.
    sure = _TO_LAST_BOUNDARY.match(octets[start : end + 2].decode(_UTF16, "surrogatepass"))
    cut = start + len(sure[0].encode(_UTF16, "surrogatepass")) if sure else start
    for piece in iterate_graphemes(octets[cut:].decode(_UTF16, "surrogatepass")):
        following = cut + len(piece.encode(_UTF16, "surrogatepass"))
        if following > end:
            break
        cut = following
    if cut > start:
        return cut
    # No part could hold this piece: it is cut after all, but not within a surrogate pair.
    return end - 2 if octets[end - 1] & 0xFC == _HIGH_SURROGATE else end
