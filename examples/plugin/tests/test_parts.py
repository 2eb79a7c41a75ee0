"""Both parts keep every promise that logad relies on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from logad_example_plugin.json_post import JsonPostConfig, JsonPostNotifier
from logad_example_plugin.longest_run import LongestRunDetector
from pydantic import SecretStr

from logad import registry
from logad.rendering import Renderer
from logad.testing import Check
from logad.testing.detectors import detector_checks
from logad.testing.notifiers import HttpService, NotifierCase, notifier_checks


@contextmanager
def posting() -> Iterator[NotifierCase]:
    with HttpService().running() as service:
        address = f"{service.address}/in/SECRETSECRET"
        notifier = JsonPostNotifier(JsonPostConfig(address=SecretStr(address)), Renderer())
        yield NotifierCase(notifier, service, secrets=("SECRETSECRET",))


@pytest.mark.parametrize("check", detector_checks(LongestRunDetector), ids=str)
def test_the_detector_keeps_its_promises(check: Check) -> None:
    check()


@pytest.mark.parametrize("check", notifier_checks(JsonPostNotifier, posting), ids=str)
def test_the_notifier_keeps_its_promises(check: Check) -> None:
    check()


def test_logad_finds_both() -> None:
    assert registry.part("detectors", "longest_run") is LongestRunDetector
    assert registry.part("notifiers", "json_post") is JsonPostNotifier
