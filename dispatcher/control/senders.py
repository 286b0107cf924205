"""What may be made of a sender's record: suspended, slowed down, let go on."""

from datetime import datetime

from msgspec.structs import replace

from dispatcher.domain.control import Cut, Order, SenderRecord


def suspend(record: SenderRecord, order: Order) -> SenderRecord:
    """Let nothing leave by it; an earlier order that holds longer stays."""
    if record.suspension is not None and _holds_longer(record.suspension, order):
        return record
    return replace(record, suspension=order)


def slow_down(record: SenderRecord, cut: Cut) -> SenderRecord:
    """Let it send at a part of its rate; an earlier order that cuts deeper and holds longer stays."""
    if record.cut is not None and record.cut.factor <= cut.factor and _holds_longer(record.cut, cut):
        return record
    return replace(record, cut=cut)


def resume(_record: SenderRecord) -> SenderRecord:
    """Let it send as the config says, at once."""
    return SenderRecord()


def _holds_longer(before: Order, order: Order) -> bool:
    if before.until is None or order.until is None:
        return before.until is None and order.until is not None
    end: datetime = before.until
    return end > order.until
