"""Writes what a miner knows as JSON with a checksum, and reads it back."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from logad.errors import StateError
from logad.lineage import Descent

VERSION: Final = 3
"""Version 1 was the list of shapes alone; in version 2 nothing told when templates were seen."""

_KIND: Final = "logad.templates"
_ADVICE: Final = "learn the templates anew, or take an earlier copy"


@dataclass(frozen=True, slots=True)
class Known:
    """All that a miner knows: learning it again gives the same miner."""

    shapes: Sequence[tuple[str, int]]  # with a level each, in order; between them, when templates were seen
    crowds: bytes = b""  # 16 bytes for each word known at a place
    lineage: Sequence[Descent] = ()

    def as_bytes(self) -> bytes:
        """As JSON.

        >>> known = Known([("took <NUM>", 2)], bytes(16))
        >>> Known.from_bytes(known.as_bytes(), "app.json") == known
        True
        """
        content = {
            "shapes": [[shape, level] for shape, level in self.shapes],
            "crowds": base64.b64encode(self.crowds).decode(),
            "lineage": [event.as_dict() for event in self.lineage],
        }
        told = {"kind": _KIND, "version": VERSION, "sha256": _checksum(content), "content": content}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes, where: str) -> "Known":
        """What was written by `as_bytes`, or by the first version.

        Raises:
            StateError: it is damaged, or a newer logad wrote it.
        """
        try:
            told = json.loads(data)
            if isinstance(told, list):
                return Known(_shapes(told))
            version, content = told["version"], told["content"]
            if told["kind"] != _KIND or not isinstance(version, int):
                raise StateError(where, f"it holds {told['kind']!r}", _KIND, _ADVICE)
            if version > VERSION:
                advice = "use the logad that wrote it, or learn the templates anew"
                raise StateError(where, f"templates of version {version}", f"at most {VERSION}", advice)
            found = _checksum(content)
            if found != told["sha256"]:
                expected = f"{str(told['sha256'])[:12]}…, as it was written"
                raise StateError(where, f"its checksum is {found[:12]}…", expected, _ADVICE)
            crowds = base64.b64decode(content["crowds"], validate=True)
            if len(crowds) % 16:
                raise StateError(where, f"{len(crowds)} bytes of crowds", "16 for each word", _ADVICE)
            lineage = tuple(Descent.from_dict(event) for event in content["lineage"])
            return Known(_shapes(content["shapes"]), crowds, lineage)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise StateError(where, f"not readable ({error})", "templates in JSON", _ADVICE) from None


def _checksum(content: object) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _shapes(told: list[Any]) -> list[tuple[str, int]]:
    shapes = [(shape, level) for shape, level in told]
    if not all(isinstance(shape, str) and level in range(6) for shape, level in shapes):
        raise ValueError("a shape is a text and a level")
    return shapes
