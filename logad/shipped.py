"""Where the default rules and templates lie: inside a wheel, or at the top of a checkout."""

from pathlib import Path


def shipped(name: str) -> Path:
    """The folder of defaults called `rules` or `templates`.

    >>> shipped("rules").is_dir()
    True
    """
    package = Path(__file__).parent
    installed = package / "shipped" / name
    return installed if installed.is_dir() else package.parent / name
