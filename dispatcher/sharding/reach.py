"""Who may send what: the pools of each sender, and which senders a change of the fleet keeps from some messages."""

from dataclasses import replace

from dispatcher.domain.fleet import Fleet, Pool


def pools_of(fleet: Fleet) -> dict[str, list[Pool]]:
    """Return the pools that each sender is in."""
    pools: dict[str, list[Pool]] = {number: [] for number in fleet.senders}
    for pool in fleet.pools.values():
        for number in pool.senders:
            pools[number].append(pool)
    return pools


def narrowed_senders(before: Fleet, after: Fleet) -> set[str]:
    """Return the senders of both fleets that may be kept from messages *after*, which they might send *before*."""
    had, have = pools_of(before), pools_of(after)
    narrowed = set()
    for number, sender in before.senders.items():
        if (other := after.senders.get(number)) is None:
            continue
        has_left = {pool.name for pool in had[number]} - {pool.name for pool in have[number]}
        # Its rates are no matter of whom it reaches.
        is_another = sender != other and (
            replace(sender, rate=None, mms_rate=None) != replace(other, rate=None, mms_rate=None)
        )
        if (
            is_another
            or has_left
            or before.accounts[sender.account].countries != after.accounts[other.account].countries
        ):
            narrowed.add(number)
    return narrowed
