"""Windows as counts of series: each template of a service, and each service's total."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from logad.detectors._baseline import Ints
from logad.windows import Windows

WARNING: Final = 2  # severity class


@dataclass(frozen=True, slots=True)
class Names:
    """The series that are known: `keys` are service * (width + 1) + code, sorted; `width` codes the total."""

    services: tuple[str, ...]
    width: int  # templates known
    keys: Ints

    @classmethod
    def of(cls, windows: Windows) -> "Names":
        """Every template of every service that stands in the windows."""
        services = tuple(windows.table["service"].unique().sort())
        bare = cls(services, len(windows.vocabulary), np.zeros(0, dtype=np.int64))
        window, code, _ = windows.occurrences
        totals = np.arange(len(services)) * (bare.width + 1) + bare.width
        keys = np.union1d(bare.service_of(windows)[window] * (bare.width + 1) + code, totals)
        return cls(services, bare.width, keys.astype(np.int64))

    @property
    def owners(self) -> Ints:
        """The service of each series."""
        return self.keys // (self.width + 1)

    @property
    def codes(self) -> Ints:
        """The template of each series, `width` for a total."""
        return self.keys % (self.width + 1)

    @property
    def totals(self) -> Ints:
        """The series of each service's total."""
        return np.flatnonzero(self.codes == self.width)

    def found(self, services: Ints, codes: Ints) -> Ints:
        """The series of templates of services (-1: not known); -1 where there is none."""
        wanted = (services >= 0) & (codes < self.width)
        keys = np.where(wanted, services * (self.width + 1) + codes, -1)
        place = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        known = wanted & (self.keys[place] == keys) if len(self.keys) else np.zeros(len(keys), dtype=np.bool_)
        return np.where(known, place, -1)

    def grave(self, windows: Windows) -> NDArray[np.bool_]:
        """Which series warn or report errors."""
        severity = np.zeros(self.width + 1, dtype=np.int64)
        severity[: self.width] = windows.severities[: self.width]
        grave: NDArray[np.bool_] = severity[self.codes] >= WARNING
        return grave

    def service_of(self, windows: Windows) -> Ints:
        """The number of each window's service, -1 where it is not known."""
        names = windows.table["service"]
        known = pl.DataFrame(
            {"service": self.services, "number": range(len(self.services))},
            schema={"service": pl.String(), "number": pl.Int64()},
        )
        joined = names.to_frame("service").join(known, on="service", how="left", maintain_order="left")
        return joined["number"].fill_null(-1).to_numpy()


@dataclass(frozen=True)
class Seen:
    """Some windows by series: `values[i]` (not 0) lines of series `series[i]` in window `rows[i]`."""

    windows: Windows
    names: Names
    service: Ints  # of each window, -1 where it is not known
    hours: Ints  # of the day at which each window starts, UTC
    ends: Ints  # of each window, microseconds
    rows: Ints
    series: Ints
    values: Ints

    @classmethod
    def of(cls, windows: Windows, names: Names) -> "Seen":
        """Count the known series; a total counts the unknown templates too."""
        service = names.service_of(windows)
        window, code, times = windows.occurrences
        series = names.found(service[window], code)
        known = series >= 0
        sizes = np.diff(windows.offsets)
        full = np.flatnonzero((sizes > 0) & (service >= 0))
        return cls(
            windows,
            names,
            service,
            windows.table["start"].dt.hour().fill_null(0).cast(pl.Int64()).to_numpy(),
            windows.table["end"].dt.timestamp("us").fill_null(0).to_numpy(),
            np.concatenate([window[known], full]),
            np.concatenate([series[known], names.totals[service[full]]]),
            np.concatenate([times[known], sizes[full]]).astype(np.int64),
        )

    @cached_property
    def lines(self) -> NDArray[np.int32]:
        """The series of each event, -1 where it is not known."""
        windows, names = self.windows, self.names
        every = np.arange(len(windows.vocabulary))
        known = [names.found(np.full(len(every), number), every) for number in range(len(names.services))]
        table = np.asarray([*known, np.full(len(every), -1)], dtype=np.int32)
        if (self.service == 0).all():
            return np.asarray(table[0][windows.events])
        return np.asarray(table[self.service[windows.owner], windows.events])

    def table(self, series: Ints) -> tuple[Ints, Ints]:
        """The windows of the service of these series, and their counts, zeros included."""
        places = np.flatnonzero(self.service == self.names.owners[series[0]])
        dense = np.zeros((len(places), len(series)), dtype=np.int64)
        column = np.full(len(self.names.keys), -1)
        column[series] = np.arange(len(series))
        mine = column[self.series] >= 0
        dense[np.searchsorted(places, self.rows[mine]), column[self.series[mine]]] = self.values[mine]
        return places, dense
