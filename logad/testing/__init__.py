"""The contract suites, shipped for people who write plug-ins.

A suite yields checks; each is a sentence that holds for every part of its kind. With pytest:

    from logad.testing import Check
    from logad.testing.detectors import detector_checks

    @pytest.mark.parametrize("check", detector_checks(MyDetector), ids=str)
    def test_my_detector_keeps_the_contract(check: Check) -> None:
        check()
"""

from collections.abc import Callable
from dataclasses import dataclass


class ContractBroken(AssertionError):  # noqa: N818  (it says what happened)
    """A part does not keep its contract; says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, ready to be checked: call it; it raises ContractBroken where the part breaks it.

    >>> def it_answers() -> None:
    ...     require(True, "no answer")
    >>> str(Check(it_answers, it_answers, "twice"))
    'it_answers-twice'
    """

    promise: Callable[..., object]
    run: Callable[[], object]
    circumstance: str = ""

    def __call__(self) -> None:
        """Check the promise."""
        self.run()

    def __str__(self) -> str:
        name: str = self.promise.__name__
        return f"{name}-{self.circumstance}" if self.circumstance else name


def require(condition: object, complaint: str) -> None:
    """Raise ContractBroken with the complaint unless the condition holds.

    >>> require(1 + 1 == 2, "arithmetic is broken")
    """
    if not condition:
        raise ContractBroken(complaint)
