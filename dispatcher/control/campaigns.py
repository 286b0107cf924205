"""What an operator may make of a campaign's record: pause, resume, cancel, call it finished."""

from msgspec.structs import replace

from dispatcher.domain.control import CampaignRecord, Order
from dispatcher.domain.errors import DispatcherError


def pause(name: str, record: CampaignRecord, order: Order) -> CampaignRecord:
    """Let nothing of it leave until it is resumed."""
    _refuse_what_is_over(name, record, "pause")
    return replace(record, state="paused", order=order)


def resume(name: str, record: CampaignRecord, order: Order) -> CampaignRecord:
    """Let it go on where it was."""
    _refuse_what_is_over(name, record, "resume")
    return replace(record, state="running", order=order)


def cancel(name: str, record: CampaignRecord, order: Order) -> CampaignRecord:
    """Let nothing of it leave any more: every message that has not left gets a result that says so."""
    _refuse_what_is_over(name, record, "cancel")
    return replace(record, state="cancelled", order=order)


def finish(_name: str, record: CampaignRecord, order: Order) -> CampaignRecord:
    """Call it finished: each of its recipients has a result. What an operator said meanwhile stays."""
    return replace(record, state="finished", order=order) if record.state == "running" else record


def _refuse_what_is_over(name: str, record: CampaignRecord, verb: str) -> None:
    if record.state == "cancelled":
        was = f", {record.order}" if record.order else ""
        raise DispatcherError(
            f'the campaign "{name}" is cancelled{was}, and that is for good; publish the rest under another name'
        )
    if record.state == "finished":
        raise DispatcherError(f'the campaign "{name}" is finished: there is nothing to {verb}')
