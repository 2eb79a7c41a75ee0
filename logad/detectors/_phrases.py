"""How detectors put templates, numbers and durations into a sentence."""

from typing import Final

from logad.windows import Windows

_LONGEST: Final = 125  # characters of a template that a sentence can bear ...
_END: Final = 50  # ... so many of them from its end


def quoted(windows: Windows, code: int) -> str:
    """The template's text in quotes, cut in the middle where a sentence could not bear more."""
    if code >= len(windows.vocabulary):
        return f"'template {code}'"
    text = windows.vocabulary[code].text
    if len(text) <= _LONGEST:
        return f"'{text}'"
    begin, end = text[: _LONGEST - _END], text[-_END:]  # what went wrong often comes last
    return f"'{begin.rpartition(' ')[0] or begin} … {end.partition(' ')[2] or end}'"


def number(value: float) -> str:
    """A count or a mean as a person writes it.

    >>> [number(value) for value in (14, 0.4321, 12.34, 5120)]
    ['14', '0.43', '12', '5,120']
    """
    if value == round(value) or value >= 10:  # noqa: PLR2004  (no decimals above ten)
        return f"{round(value):,}"
    return f"{value:.2g}"


def times(count: int) -> str:
    """How often something came.

    >>> [times(count) for count in (0, 1, 2, 1200)]
    ['0 times', 'once', 'twice', '1,200 times']
    """
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def coming(count: int) -> str:
    """How often something comes, as the rest of a sentence.

    >>> coming(0), coming(1)
    ('it does not come', 'it comes once')
    """
    return f"it comes {times(count)}" if count else "it does not come"


def counted(count: int, what: str) -> str:
    """A number of things, singular or plural.

    >>> counted(1, "window"), counted(1200, "session")
    ('1 window', '1,200 sessions')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def share(part: float, whole: float) -> str:
    """A share in percent that says 100 only where nothing is missing.

    >>> share(5110, 5120), share(11_500, 11_501), share(3, 3)
    ('99.8 %', '99.99 %', '100 %')
    """
    if part >= whole:
        return "100 %"
    percent = 100 * part / whole
    for digits in (1, 2, 3):
        told = f"{percent:.{digits}f}"
        if float(told) < 100:  # noqa: PLR2004
            return f"{told} %"
    return "99.999 %"


def duration(seconds: float) -> str:
    """A duration in the unit that fits it.

    >>> [duration(value) for value in (0.25, 40, 900, 5400, 7200, 80_000, 259_200)]
    ['0.25 s', '40 s', '15 minutes', '1.5 hours', '2 hours', '22 hours', '3 days']
    """
    for unit, size, least in (("days", 86_400, 2), ("hours", 3_600, 1.5), ("minutes", 60, 2)):
        if seconds >= least * size:
            told = f"{seconds / size:.1f}" if seconds < 10 * size else f"{seconds / size:,.0f}"
            return f"{told.removesuffix('.0')} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
