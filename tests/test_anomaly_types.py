"""Each detector names the types of anomaly that the documentation promises of it, and no others."""

import importlib.util
import re
from pathlib import Path

import pytest

from logad import registry
from logad.contracts import PartConfig
from logad.detectors.new_template import NewTemplate
from logad.testing.detectors import Subject
from logad.testing.samples import normal_windows, with_anomaly
from logad.types import AnomalyType

DOCS = Path(__file__).parents[1] / "docs" / "how-it-works.md"
ROW = re.compile(r"^\| `(\w+)` \| ([a-z, ]+) \| .+ \|$", re.MULTILINE)
PROMISED = {name: set(types.split(", ")) for name, types in ROW.findall(DOCS.read_text("utf-8"))}
NAMES = registry.names("detectors")


def test_the_table_has_every_detector_and_only_types_that_there_are():
    assert sorted(PROMISED) == sorted(NAMES)
    assert set().union(*PROMISED.values()) == {str(type_) for type_ in AnomalyType}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_detector_tells_is_of_a_type_that_is_promised(name):
    if name == "pyod" and importlib.util.find_spec("pyod") is None:
        print("skipped: PyOD is not installed (the extra `pyod`)")
        pytest.skip("PyOD is not installed")
    part = registry.part("detectors", name)
    for kind in sorted(part.kinds):
        windows, row = with_anomaly(normal_windows(kind), kind)
        told = Subject(part, part.Config(), kind).fitted().explain(windows, row)
        assert {str(contribution.type) for contribution in told} <= PROMISED[name]
        assert all(contribution.expected and contribution.actual for contribution in told)


def test_a_detector_that_told_another_type_would_be_found():
    windows, row = with_anomaly(normal_windows(kind := min(NewTemplate.kinds)), kind)
    told = NewTemplate(PartConfig()).fit(windows).explain(windows, row)
    assert {str(contribution.type) for contribution in told} == PROMISED["new_template"] == {"point"}
