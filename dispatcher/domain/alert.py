"""An alert: the contract with whoever reads the alerts topic, or is called by a webhook."""

from typing import Literal

import msgspec

# A page wakes somebody; a ticket waits for the morning.
Severity = Literal["page", "ticket"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong, or is so no longer; the record's key is `ALERT/SUBJECT`, and the latest record counts.

    *alert* is the rule, *subject* what it is about: `campaign spring`, `sender 72345`, `everything`. *why* is a
    sentence for a person, with what to do next. *value* is the rule's figure and *threshold* what it was held against.
    *since* is when the alert was raised, *at* when this was written, both RFC 3339 in UTC.
    """

    alert: str
    subject: str
    state: Literal["raised", "cleared"]
    severity: Severity
    why: str
    value: float
    threshold: float
    since: str
    at: str

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return f"{self.alert}/{self.subject}".encode()


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Alert).decode
