"""Keeps when templates were first seen, and in which slots of time those that warn or report an error."""

import hashlib
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from logad.contracts import State
from logad.types import WindowKind
from logad.windows import NO_TIME, Windows, tallied

Moments = NDArray[np.int64]

WARNING: Final = 2  # the least severity class that warns
SLOT: Final = 600_000_000  # microseconds: chattiness is counted in slots of ten minutes
LINES_A_SLOT: Final = 1000  # where nothing has a time, this many lines stand for a slot
CHATTY_SHARE: Final = 0.3  # of the slots in which anything was written ...
CHATTY_SLOTS: Final = 20  # ... and at least so many: the template is noise of this system
ALL_OVER: Final = 7  # tenths of what was fitted in which noise stands, at least; chosen without labels
OCCASIONS: Final = 3  # earlier occasions, in time windows, after which an error that comes again is known ...
OCCASION_DAYS: Final = 2  # ... if they fell on so many days; both chosen on shop seeds 0-3
HOUR_SLOTS: Final = 6  # slots without it that part two occasions
DAY_SLOTS: Final = 144
NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class History:
    """What was seen and when; every array is ordered by its moments or keys."""

    first: Moments  # (templates,): the moment of each template's first event, NEVER where there was none
    home: Moments  # (templates,): when the window of that first event began
    keeper: NDArray[np.int64]  # (templates,): the service of that window, hashed
    second: Moments  # (templates,): when the first of the other windows that hold it began
    windows: Moments  # moments at which windows began that hold anything ...
    owners: NDArray[np.int64]  # ... and the service of each, hashed
    filled: Moments  # distinct slots of time that hold anything
    kinds: NDArray[np.int64]  # what warns or reports an error, hashed (`kinds_of`), and ...
    slots: NDArray[np.int64]  # ... each slot of time that holds it, by kind, then slot, and ...
    starts: Moments  # ... its first moment in that slot

    @classmethod
    def none(cls) -> "History":
        """Nothing was seen."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in fields(cls)))

    @classmethod
    def of(cls, windows: Windows) -> "History":
        """What these windows alone teach."""
        moments = moments_of(windows)
        begins = begins_of(windows, moments)
        services = _services(windows)
        width = len(windows.vocabulary)
        first, home, keeper = np.full(width, NEVER), np.full(width, NEVER), np.zeros(width, dtype=np.int64)
        np.minimum.at(first, windows.events, moments)
        opening = np.flatnonzero(moments == first[windows.events])
        np.minimum.at(home, windows.events[opening], begins[windows.owner[opening]])
        opening = opening[begins[windows.owner[opening]] == home[windows.events[opening]]]
        np.maximum.at(keeper, windows.events[opening], services[windows.owner[opening]])
        row, code, _ = windows.occurrences
        again = begins[row] != home[code]
        second = np.full(width, NEVER)
        np.minimum.at(second, code[again], begins[row[again]])
        bad = windows.alarming[windows.events] | (windows.severities[windows.events] >= WARNING)
        slots = moments // SLOT
        elapsed = np.unique(slots[np.flatnonzero(np.diff(slots, prepend=slots[:1] - 1))])  # most are in order
        sites, site = np.unique(sites_of(windows), return_inverse=True)
        place = np.searchsorted(elapsed, slots[bad])
        keys = (site[windows.owner[bad]] * width + windows.events[bad]) * len(elapsed) + place
        distinct, _ = tallied(keys, len(sites) * len(elapsed) * width)
        starts = np.full(len(distinct), NEVER)
        np.minimum.at(starts, np.searchsorted(distinct, keys), moments[bad])
        mixed, place = np.divmod(distinct, max(len(elapsed), 1))
        kinds = kinds_of(sites[mixed // max(width, 1)], mixed % max(width, 1))
        order = np.lexsort((place, kinds))
        filled = begins < NEVER
        begun, owners = _distinct(begins[filled], services[filled])
        return cls(
            first,
            home,
            keeper,
            second,
            begun,
            owners,
            elapsed,
            kinds[order],
            elapsed[place[order]],
            starts[order],
        )

    def joined(self, other: "History") -> "History":
        """Both histories as one; what both saw counts once."""
        width = max(len(self.first), len(other.first))
        mine, theirs = (_widened(history.first, width) for history in (self, other))
        homes = [_widened(history.home, width) for history in (self, other)]
        seconds = [_widened(history.second, width) for history in (self, other)]
        keepers = [_widened(history.keeper, width, 0) for history in (self, other)]
        later = theirs < mine
        ties = theirs == mine
        later |= ties & ((homes[1] < homes[0]) | ((homes[1] == homes[0]) & (keepers[1] > keepers[0])))
        home = np.where(later, homes[1], homes[0])
        others = np.stack([*homes, *seconds])
        kinds, slots, starts = (
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("kinds", "slots", "starts")
        )
        order = np.lexsort((starts, slots, kinds))
        order = order[_changes(kinds[order], slots[order])]
        begun, owners = _distinct(
            np.concatenate([self.windows, other.windows]), np.concatenate([self.owners, other.owners])
        )
        return History(
            np.minimum(mine, theirs),
            home,
            np.where(later, keepers[1], keepers[0]),
            np.where(others == home, NEVER, others).min(axis=0),
            begun,
            owners,
            np.union1d(self.filled, other.filled),
            kinds[order],
            slots[order],
            starts[order],
        )

    def state(self) -> State:
        """As arrays."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def restored(cls, state: State) -> "History":
        """What gave this state."""
        return cls(*(np.asarray(state[field.name], dtype=np.int64) for field in fields(cls)))

    def slots_before(self, kinds: Moments, moments: Moments) -> tuple[Moments, Moments]:
        """In how many slots before the moments these kinds stood, and how many held anything."""
        slots, base = moments // SLOT, int(self.filled[0]) if len(self.filled) else 0
        width = int(max(slots.max(initial=base), self.slots.max(initial=base)) - base) + 2
        distinct, place = np.unique(self.kinds, return_inverse=True)
        keys = place * width + (self.slots - base)
        asked = np.searchsorted(distinct, kinds)
        before = np.searchsorted(keys, asked * width + (slots - base)) - np.searchsorted(keys, asked * width)
        present = np.where(np.isin(kinds, distinct), before, 0)
        return present, np.searchsorted(self.filled, slots)

    def known(self, kinds: Moments, moments: Moments) -> NDArray[np.bool_]:
        """Whether these kinds came on OCCASIONS before the present one, on OCCASION_DAYS different days."""
        opens = np.diff(self.slots, prepend=0) > HOUR_SLOTS
        opens |= np.diff(self.kinds, prepend=-1) != 0
        begun, owners = self.slots[opens], self.kinds[opens]
        found = np.zeros(len(kinds), dtype=np.bool_)
        for kind in np.unique(kinds):
            occasions, mine = begun[owners == kind], kinds == kind
            before = np.searchsorted(occasions, moments[mine] // SLOT, side="right") - 1
            days = np.concatenate([[0], np.cumsum(np.diff(occasions // DAY_SLOTS, prepend=-1) != 0)])
            found[mine] = (before >= OCCASIONS) & (days[np.maximum(before, 0)] >= OCCASION_DAYS)
        return found

    def all_over(self, kinds: Moments) -> NDArray[np.bool_]:
        """Whether these kinds stand all over this history, so that they are its normal state."""
        begins, ends = (np.searchsorted(self.kinds, kinds, side) for side in ("left", "right"))
        tenth = np.searchsorted(self.filled, self.slots) * 10 // max(len(self.filled), 1)
        opens = _changes(self.kinds, tenth)
        tenths = np.concatenate([[0], np.cumsum(opens)])
        often = ends - begins >= CHATTY_SHARE * len(self.filled)
        spread: NDArray[np.bool_] = often & (tenths[ends] - tenths[begins] >= ALL_OVER)
        return spread


def moments_of(windows: Windows) -> Moments:
    """A moment for each event: its time, else that of the event before, else one made from its line."""
    known = windows.times != NO_TIME
    if known.all():
        return windows.times
    if known.any():
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        return windows.times[np.where(last < 0, np.argmax(known), last)]
    lines = windows.table["first_line"].fill_null(0).to_numpy()
    inside = np.arange(len(known)) - np.repeat(windows.offsets[:-1], np.diff(windows.offsets))
    return (lines[windows.owner] + inside) * (SLOT // LINES_A_SLOT)


def begins_of(windows: Windows, moments: Moments) -> Moments:
    """The earliest moment of each window, NEVER where it has no event."""
    begins = np.full(len(windows), NEVER)
    np.minimum.at(begins, windows.owner, moments)
    return begins


def sites_of(windows: Windows) -> NDArray[np.int64]:
    """Where the templates of each window stand: its service; runs of records are of none."""
    if windows.kind is WindowKind.TIME:
        return _services(windows)
    return np.zeros(len(windows), dtype=np.int64)


def kinds_of(sites: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each template in a service: what is everyday noise in one may be news in another."""
    mixed = sites.astype(np.uint64) + codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(1)).astype(np.int64)


def _services(windows: Windows) -> NDArray[np.int64]:
    """A number for the service of each window, the same in every process."""
    names = windows.table["service"]
    distinct = names.unique().to_list()
    hashes = [hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in distinct]
    numbers = {name: int.from_bytes(each) >> 1 for name, each in zip(distinct, hashes, strict=True)}
    return np.fromiter((numbers[name] for name in names), dtype=np.int64, count=len(names))


def _distinct(
    keys: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct pairs in order."""
    order = np.lexsort((values, keys))
    order = order[_changes(keys[order], values[order])]
    return keys[order], values[order]


def _changes(keys: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each pair is another than the one before it."""
    new = np.ones(len(keys), dtype=np.bool_)
    new[1:] = (np.diff(keys) != 0) | (np.diff(values) != 0)
    return new


def _widened(numbers: NDArray[np.int64], width: int, rest: int = NEVER) -> NDArray[np.int64]:
    return np.concatenate([numbers, np.full(width - len(numbers), rest)])
