"""How many segments a text costs: the unit in which Twilio and the carriers count.

140 octets a segment (3GPP TS 23.038, 23.040): 160 GSM-7 septets alone and 153 in each part of a longer text;
70 and 67 UTF-16 units when one character lies outside GSM-7. Neither an escaped GSM-7 character nor a surrogate
pair is split over two parts.
"""

import re

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = "\f^{}\\[~]|€"
_ALL_BASIC = re.compile(f"[{re.escape(_BASIC)}]*")
_ALL_GSM7 = re.compile(f"[{re.escape(_BASIC + _EXTENDED)}]*")


def count_segments(body: str) -> int:
    """Return how many segments *body* takes; an empty body takes one."""
    if _ALL_BASIC.fullmatch(body):
        return _parts(len(body), alone=160, each=153)
    if _ALL_GSM7.fullmatch(body):
        return _packed([2 if character in _EXTENDED else 1 for character in body], alone=160, each=153)
    if body.isascii() or max(body) <= "\uffff":
        return _parts(len(body), alone=70, each=67)
    return _packed([2 if character > "\uffff" else 1 for character in body], alone=70, each=67)


def _parts(units: int, *, alone: int, each: int) -> int:
    return 1 if units <= alone else -(-units // each)


def _packed(costs: list[int], *, alone: int, each: int) -> int:
    """Pack characters that cost one or two units into parts without splitting one."""
    if sum(costs) <= alone:
        return 1
    parts, room = 1, each
    for cost in costs:
        if cost > room:
            parts, room = parts + 1, each
        room -= cost
    return parts
