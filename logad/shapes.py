"""Tells lines of equal shape: by numbers, and by texts in which values of one kind are written alike."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from logad.canonical import canonical
from logad.kernel.numbered import Numbered

if TYPE_CHECKING:
    from logad.kernel.passes import Compiled

WORTH_LOADING: Final = 1 << 18
"""From so many bytes on, loading the compiled passes costs less than it saves."""
WORTH_COMPILING: Final = 1 << 23
"""The same where they must be compiled first."""
MOST: Final = 1 << 17
_NEVER: Final = 1 << 62
_READY: "Final[list[Compiled]]" = []  # once they were worth it


class _Table(Protocol):
    def number(self, text: bytes) -> Iterator[Numbered]: ...


class Shapes:
    r"""Gives every line the number of its shape, in order of first appearance, however the text is cut.

    At most `most` shapes are held: before one more all are forgotten and the numbers begin anew, so that
    nothing that comes in makes this grow. Once much text has come, the compiled pass takes over where it can
    be had (and the numbers begin anew); `tell` hears of it when it must be compiled first. Nothing but the
    speed depends on that.

    >>> shapes = Shapes()
    >>> [part.ids.tolist() for part in shapes.number(b"took 5 ms\nfailed\ntook 71 ms\n")]
    [[0, 1, 0]]
    >>> [(part.ids.tolist(), part.fresh) for part in shapes.number(b"took 9 ms\ndone")]
    [([0, 2], ['done'])]
    """

    def __init__(
        self,
        most: int = MOST,
        *,
        worth_loading: int = WORTH_LOADING,
        worth_compiling: int = WORTH_COMPILING,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.most = most
        self._tell = tell
        self._worth_loading = worth_loading
        self._worth_compiling = worth_compiling
        self._bytes = 0
        self._table: _Table = _Plain(most)

    def number(self, text: bytes) -> Iterator[Numbered]:
        """The lines of a text, in parts: each but the first begins the numbers anew."""
        began, self._bytes = self._bytes > 0, self._bytes + len(text)
        if self._bytes >= self._worth_compiling:
            self._worth_loading = self._worth_compiling = _NEVER
            self._take_over(self._tell, anew=began)
        elif self._bytes >= self._worth_loading:
            self._worth_loading = _NEVER
            self._take_over(None, anew=began)
        if text:
            yield from self._table.number(text)

    def _take_over(self, tell: Callable[[str], None] | None, *, anew: bool) -> None:
        """Go on with the compiled pass: compiled now if there is someone to tell, unless it cannot be had."""
        try:
            from logad.kernel.loading import compiled  # noqa: PLC0415  (costs nothing where it is not needed)
            from logad.kernel.passes import LineTable  # noqa: PLC0415

            passes = compiled(tell)
        except (ImportError, OSError, RuntimeError) as error:
            self._worth_compiling = _NEVER
            self._tell(f"cannot be compiled here, so this is slower: {error}")
            return
        if passes is not None:
            self._worth_compiling = _NEVER
            self._table = LineTable(passes, self.most, anew=anew)


class _Plain:
    """The same numbers by regular expressions, a line at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, int] = {}

    def number(self, text: bytes) -> Iterator[Numbered]:
        begun, anew = 0, False
        while begun < len(text):
            ids: list[int] = []
            starts: list[int] = []
            fresh: list[str] = []
            while begun < len(text):
                end = text.find(b"\n", begun)
                following = end + 1 if end >= 0 else len(text)
                end = end if end >= 0 else len(text)
                end -= text.endswith(b"\r", begun, end)
                shape = canonical(text[begun:end].decode("utf-8", "surrogateescape"))
                known = self._known.get(shape)
                if known is None:
                    if len(self._known) >= self._most:
                        break
                    known = self._known[shape] = len(self._known)
                    fresh.append(shape)
                ids.append(known)
                starts.append(begun)
                begun = following
            yield Numbered(_array(ids), _array(starts), fresh, anew)
            if begun < len(text):
                self._known, anew = {}, True


def flattened(texts: Sequence[str]) -> list[str]:
    """The canonical form of each text; none may hold a newline.

    >>> flattened(["took 5 ms", "took 71 ms"])
    ['took 000 ms', 'took 000 ms']
    """
    whole = "\n".join(texts).encode("utf-8", "surrogateescape")
    compiled = passes(len(whole)) if texts else None
    if compiled is None:
        return [canonical(text) for text in texts]
    return compiled.flatten(whole).decode("utf-8", "surrogateescape").split("\n")


def moments(
    text: bytes, lines: NDArray[np.int32], places: NDArray[np.int32], letters: bytes
) -> NDArray[np.int64]:
    """Times in some lines of a text, microseconds since 1970; the least integer where none was read.

    The letters say how they are written: see `logad.formats.timestamps.letters`. `lines` are where the lines
    begin, `places` where in them the times do: see `logad.kernel.numbered.place`. None is read where it would
    take longer to begin than to read them in another way, nor at a place below 0.
    """
    compiled = passes(len(text))
    if compiled is None:
        return np.full(len(places), np.iinfo(np.int64).min)
    return compiled.moments(text, lines, places, letters)


def passes(size: int) -> "Compiled | None":
    """The compiled passes for a text of this size: None where they are not worth it, or nowhere to be had."""
    if not _READY and size >= WORTH_LOADING:
        try:
            from logad.kernel.passes import Compiled  # noqa: PLC0415  (costs nothing where it is not needed)
        except (ImportError, OSError):
            return None
        _READY.extend(filter(None, [Compiled.found()]))
    return _READY[0] if _READY else None


def _array(values: list[int]) -> NDArray[np.int32]:
    return np.asarray(values, dtype=np.int32)
