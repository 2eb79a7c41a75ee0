"""What comes more or less often than usual: alone, over the last hour, and beside its partners."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from logad.detectors import _partners, _sums
from logad.detectors._ages import AGE, Ages, young
from logad.detectors._baseline import HOURS, Baseline, Ints
from logad.detectors._coverage import Coverage
from logad.detectors._findings import BEYOND, DOWN, PARTNER, SUM, UP, Flags, Found
from logad.detectors._seen import Names, Seen

RATIO: Final = 2.0  # less than twice, or more than half, is never strange
EXCESS: Final = 8  # lines too many or missing, at least
GRAVE_EXCESS: Final = 4  # the same where the template warns
SUM_EXCESS: Final = 5  # the same of a sum ...
GRAVE_SUM_EXCESS: Final = 3  # ... where the template warns
_HOUR: Final = 3_600_000_000  # microseconds


@dataclass(frozen=True, slots=True)
class Usual:
    """What is known of how often series come."""

    names: Names
    ages: Ages
    baseline: Baseline
    coverage: Coverage
    recent: _sums.Recent
    partners: _partners.Partners
    span: int  # microseconds from one window to the next

    def standing_out(self, seen: Seen, side: int) -> Found:
        """Counts more than 1.5 standard deviations off on one side, with their surprise."""
        if side == SUM:
            return self._sums_standing_out(seen)
        if side in {PARTNER, BEYOND}:
            return self._out_of_step(seen, more=side == BEYOND)
        rows, series, values = seen.rows, seen.series, seen.values
        if side == DOWN:
            rows, series, values = self._busy(seen)
            covered = self.coverage.covers(seen.windows)[rows]
            rows, series, values = rows[covered], series[covered], values[covered]
        hours = seen.hours[rows]
        means, wide = self.baseline.means[series, hours], 1.5 * self.baseline.deviation(series, hours)
        off = values > means + wide if side == UP else (values < means - np.minimum(wide, means / RATIO))
        off &= self._judgeable(seen)[series]
        rows, series, values, hours, means = rows[off], series[off], values[off], hours[off], means[off]
        surprise_of = self.baseline.surprise_above if side == UP else self.baseline.surprise_below
        surprise = surprise_of(series, hours, values) if len(rows) else np.zeros(0)
        return Found(rows, series, values, means, surprise, seen.ends[rows])

    def _sums_standing_out(self, seen: Seen) -> Found:
        """The same of sums over the last windows, where lines came in the last of them as in the others.

        A series is expected as often as it usually comes beside the other lines of its service.
        """
        span, names = self.span, self.names
        counts = self.recent.before(seen.ends, self.span).joined(counts_of(seen))
        often = _sums.widths(self.baseline.means.mean(axis=1))[seen.series]
        chosen = (often > 0) & (self.ages.windows[seen.series].sum(axis=1) >= _sums.AGE)
        rows, series, values, many = (part[chosen] for part in (seen.rows, seen.series, seen.values, often))
        ends, hours, means = seen.ends[rows], seen.hours[rows], self.baseline.means
        sums = _sums.sums(counts, series, ends, many, span)
        last = _sums.sums(counts, series, ends, np.minimum(many, _sums.LAST), span)
        totals = names.totals[names.owners[series]]
        begun = (hours - many * span // _HOUR) % HOURS
        mean, whole = ((means[each, hours] + means[each, begun]) / 2 for each in (series, totals))
        others = _sums.sums(counts, totals, ends, many, span) - sums
        usual = mean * many * np.where(series == totals, 1.0, _sums.beside(others, (whole - mean) * many))
        off = (values * many >= _sums.NOW * usual) & (sums > RATIO * usual)
        off &= last * many >= sums * _sums.LAST / 2
        rows, series, sums, usual, hours = rows[off], series[off], sums[off], usual[off], hours[off]
        nats = _sums.surprise(sums, usual, self.baseline.phi[series, hours]) if len(rows) else usual
        return Found(rows, series, sums, usual, nats, seen.ends[rows])

    def _judgeable(self, seen: Seen) -> Flags:
        """Of which series enough windows were seen; of new ones that warn a few will do."""
        windows = self.ages.windows.sum(axis=1)
        known = windows[self.names.totals][self.names.owners] >= AGE
        judgeable: Flags = known & ((windows >= AGE) | self.names.grave(seen.windows))
        return judgeable

    def _busy(self, seen: Seen) -> tuple[Ints, Ints, Ints]:
        """Counts, zeros included, of the series busy enough that lines can be missing."""
        busy = np.flatnonzero(self.baseline.means.max(axis=1, initial=0) >= EXCESS)
        owners = self.names.owners[busy]
        parts: list[tuple[Ints, Ints, Ints]] = []
        for number_of_service in np.unique(owners):
            columns = busy[owners == number_of_service]
            places, dense = seen.table(columns)
            parts.append((np.repeat(places, len(columns)), np.tile(columns, len(places)), dense.ravel()))
        if not parts:
            return seen.rows[:0], seen.series[:0], seen.values[:0]
        rows, series, values = (np.concatenate([part[place] for part in parts]) for place in range(3))
        return rows, series, values

    def gated(self, seen: Seen, found: Found, side: int) -> Flags:
        """Whether a count is far enough off in lines and as a ratio to be worth a word."""
        if side in {PARTNER, BEYOND}:  # that is how they were found
            return np.ones(len(found.rows), dtype=np.bool_)
        if side == DOWN:
            missing: Flags = found.means - found.values >= EXCESS
            return missing & (found.values * RATIO <= found.means)
        usual, grave_one = (SUM_EXCESS, GRAVE_SUM_EXCESS) if side == SUM else (EXCESS, GRAVE_EXCESS)
        least = np.where(self.names.grave(seen.windows)[found.series], grave_one, usual)
        excess: Flags = found.values - found.means >= least
        return excess & (found.values >= RATIO * found.means)

    def familiar(self, seen: Seen) -> Seen:
        """What is seen without what is new: templates that inform, in their first two hours."""
        births, ends = self.ages.births, seen.ends[seen.windows.owner]
        unsettled = births > np.iinfo(np.int64).min
        unsettled &= self.ages.windows.sum(axis=1) < AGE
        fresh = seen.lines < 0
        if len(births):
            fresh |= unsettled[seen.lines] | young(births[seen.lines], ends, self.span)
        lines = np.bincount(seen.windows.owner[fresh], minlength=len(seen.ends))[seen.rows]
        total = self.names.codes[seen.series] == self.names.width
        values = np.where(total, seen.values - lines, seen.values)
        unknown = (
            young(births[seen.series], seen.ends[seen.rows], self.span)
            & ~self.names.grave(seen.windows)[seen.series]
        )
        kept = (values > 0) & (total | ~unknown)
        return replace(seen, rows=seen.rows[kept], series=seen.series[kept], values=values[kept])

    def _out_of_step(self, seen: Seen, *, more: bool) -> Found:
        """Templates that come more often than their partner says, or less often."""
        chosen = np.union1d(self.partners.series, self.partners.beside)
        covered = self.coverage.covers(seen.windows)
        parts = [Found.none()]
        for found in _partners.out_of_step(self.partners, tables(seen, chosen), more=more):
            kept = covered[found.rows]
            rows = found.rows[kept]
            parts.append(
                Found(
                    rows,
                    found.series[kept],
                    found.values[kept],
                    found.expected[kept],
                    found.surprise[kept],
                    seen.ends[rows],
                )
            )
        return Found.joined(parts)


def counts_of(seen: Seen) -> _sums.Recent:
    return _sums.Recent(seen.series, seen.ends[seen.rows], seen.values)


def tables(seen: Seen, chosen: Ints) -> Iterator[_partners.Table]:
    owners = seen.names.owners[chosen]
    for number in np.unique(owners):
        yield _partners.Table(chosen[owners == number], *seen.table(chosen[owners == number]))
