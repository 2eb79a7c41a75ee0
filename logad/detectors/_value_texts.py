"""How a number stands in the line that tells it, and others in the same unit."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from logad.parameters import quantities
from logad.windows import Windows

_NUMBER: Final = re.compile(
    r"(?<![\w.])([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?)( ?(?:%|[A-Za-z]{1,7})(?:/s(?:ec)?)?)?"
)
_DIGITS: Final = 3  # of a number that is no whole one
_SAME: Final = 1e-6  # of a number: what single precision loses


@dataclass(frozen=True, slots=True)
class Unit:
    """What numbers are told in: `worth` of it in base units, and what stands behind a number."""

    worth: float = 1.0
    text: str = ""

    def told(self, value: float) -> str:
        """A number in this unit.

        >>> Unit(0.001, " ms").told(0.0804), Unit().told(67108864.0), Unit().told(0.033333)
        ('80.4 ms', '67108864', '0.0333')
        >>> Unit(0.001, " ms").told(0.035000000149012)
        '35 ms'
        """
        number = value / self.worth
        if abs(number - round(number)) <= _SAME * abs(number):
            number = float(round(number))
        else:
            number = round(number, _DIGITS - 1 - int(np.floor(np.log10(abs(number)))))
        return np.format_float_positional(np.float64(number), precision=12, trim="-") + self.text


def as_written(windows: Windows, event: int, value: float) -> tuple[str, Unit]:
    """A number that an event tells, as it stands in its record, and its unit; both plain if there is none.

    >>> import numpy as np
    >>> from logad.testing.samples import normal_windows
    >>> from logad.types import WindowKind
    >>> as_written(normal_windows(WindowKind.SESSION), 1, 77.0)
    ('77', Unit(worth=1.0, text=''))
    """
    row = int(windows.rows[event])
    if 0 <= row < windows.records.height:
        found = [match.groups(default="") for match in _NUMBER.finditer(windows.raw([row])[0])]
        for number, unit in [*found, *((number, "") for number, _ in found)]:
            read = quantities(pl.Series([number + unit], dtype=pl.String))["value"][0]
            if read is not None and np.float32(read) == np.float32(value):
                worth = read / float(number) if float(number) else 1.0
                return number + unit, Unit(worth, unit)
    return Unit().told(float(f"{value:.7g}")), Unit()
