"""Incidents: what belongs together, when it ends, and what of it is sent."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from click.testing import CliRunner
from command import orders, wrote
from hypothesis import given
from hypothesis import strategies as st

from logad import cli
from logad.alerting import PROMISED, Config, decide, digest_due, false_share, normal_share, per_day
from logad.choices import choices, moved
from logad.incidents import Change, fingerprint, group
from logad.types import AnomalyType, Incident, Reason, Severity, Verdict, WindowKind, WindowRef

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def after(minutes):
    return START + timedelta(minutes=minutes)


def verdict(minute=0.0, service="shop", template="t1", score=0.95):
    reason = Reason("normal_core", AnomalyType.POINT, f"{template} is new", template, template, "0", "1")
    window = WindowRef(WindowKind.TIME, None, after(minute - 1), after(minute), 1, 2, 2)
    identity = f"{service}-{template}-{minute}"
    return Verdict(identity, service, window, False, score, 0.001, {}, (reason,))


def told(verdicts, known=(), until=None):
    """All changes when the verdicts are taken one by one, each when its window closed."""
    book = {each.id: each for each in known}
    changes = []
    moments = [(each.window.end, [each]) for each in verdicts] + ([(until, [])] if until else [])
    for now, found in moments:
        fresh = group(list(book.values()), found, now)
        book |= {change.incident.id: change.incident for change in fresh}
        changes += fresh
    return changes


def kinds(changes):
    return [change.kind for change in changes]


def test_the_same_reason_again_joins_the_open_incident():
    changes = told([verdict(0), verdict(10), verdict(20, score=0.99)])
    assert kinds(changes) == ["opened", "updated", "updated"]
    last = changes[-1].incident
    assert (last.verdicts, last.worst.score, last.updated) == (3, 0.99, after(20))


def test_an_incident_ends_after_half_an_hour_of_quiet():
    changes = told([verdict(0)], until=after(29))
    assert kinds(changes) == ["opened"]
    changes = told([verdict(0)], until=after(30))
    assert kinds(changes) == ["opened", "resolved"]
    assert changes[-1].at == after(30)


def test_what_comes_back_within_a_day_is_the_same_incident_and_later_another():
    changes = told([verdict(0), verdict(60), verdict(60 * 30)])
    assert kinds(changes) == ["opened", "resolved", "reopened", "resolved", "opened"]
    assert len({change.incident.id for change in changes}) == 2


def test_other_reasons_join_in_their_service_while_they_are_close_in_time():
    changes = told([verdict(0), verdict(4, template="t2"), verdict(4, service="mail", template="t2")])
    assert kinds(changes) == ["opened", "updated", "opened"]  # the first one is about something else
    changes = told([verdict(0), verdict(12, template="t2")])
    assert kinds(changes) == ["opened", "opened"]


def test_the_same_template_in_other_services_at_once_is_one_incident():
    changes = told([verdict(0), verdict(3, service="mail"), verdict(40, service="mail"), verdict(41)])
    assert {change.incident.id for change in changes} == {changes[0].incident.id}
    last = changes[-1].incident
    assert (last.service, last.also, last.verdicts) == ("shop", ("mail",), 4)
    assert last.title == "t1 is new (also in mail)"
    apart = told([verdict(0), verdict(12, service="mail")])
    assert kinds(apart) == ["opened", "opened"]


def test_a_title_names_the_other_services_while_they_are_few():
    many = told([verdict(0), *(verdict(1, service=name) for name in "edcba")])[-1].incident
    assert many.title == "t1 is new (also in a, b, c, 2 other services)"
    worse = told([verdict(0), verdict(1, service="mail", score=0.99)])[-1].incident
    assert worse.title == "t1 is new (also in shop)"


def test_what_is_odd_for_its_service_alone_is_one_incident_a_service():
    odd = [replace(verdict(0, service=name), reasons=(contextual(),)) for name in ("shop", "mail")]
    assert kinds(told(odd)) == ["opened", "opened"]


def contextual():
    return replace(verdict().reasons[0], type=AnomalyType.CONTEXTUAL)


def test_no_other_service_joins_a_muted_incident():
    known = replace(told([verdict(0)])[0].incident, state="muted")
    assert kinds(told([verdict(3, service="mail")], known=[known])) == ["opened"]


def test_an_incident_of_two_services_is_told_unless_both_are_muted():
    incident = told([verdict(0), verdict(1, service="mail")])[-1].incident
    change = Change("opened", incident, START)

    class Muting:
        def __init__(self, *services):
            self.services = services

        def muted(self, service, _template, _text, _now):
            return "a rule" if service in self.services else None

    (one,) = decide([change], [], Muting("shop"), Config())
    (both,) = decide([change], [], Muting("shop", "mail"), Config())
    assert not one.alert.muted
    assert both.alert.muted


def test_a_graver_verdict_makes_an_incident_worse():
    changes = told([verdict(0, score=0.6), verdict(1, score=0.95), verdict(2, score=0.6)])
    assert kinds(changes) == ["opened", "worse", "updated"]
    assert changes[-1].incident.severity is Severity.PAGE


def test_normal_and_learning_verdicts_open_nothing():
    assert told([verdict(0, score=0.5), replace(verdict(1), learning=True)]) == []


def test_a_muted_incident_takes_its_verdicts_in_silence():
    known = replace(told([verdict(0)])[0].incident, state="muted")
    changes = told([verdict(500)], known=[known])
    assert kinds(changes) == ["updated"]
    assert changes[0].incident.state == "muted"


def test_ids_depend_on_the_verdicts_alone():
    once, again = told([verdict(0), verdict(90)]), told([verdict(0), verdict(90)])
    assert [change.incident.id for change in once] == [change.incident.id for change in again]
    assert fingerprint(verdict(0)) == fingerprint(verdict(99))


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from("ab"), st.sampled_from(["t1", "t2"])), max_size=20
    ),
    st.sets(st.integers(0, 300), max_size=5),
)
def test_looking_in_between_changes_no_incident(events, looks):
    """Batches may end anywhere: that time passes without a verdict decides nothing more."""
    verdicts = [verdict(minute, service, template) for minute, service, template in sorted(set(events))]

    def final(looks):
        moments = {each.window.end: [] for each in verdicts} | {after(look): [] for look in looks}
        for end, several in groupby(verdicts, key=lambda each: each.window.end):
            moments[end] = list(several)
        book: dict[str, Incident] = {}
        for now in sorted(moments):
            for change in group(list(book.values()), moments[now], now):
                book[change.incident.id] = change.incident
        for change in group(list(book.values()), [], after(1000)):
            book[change.incident.id] = change.incident
        return book

    assert final(looks) == final(())


# What is sent -----------------------------------------------------------------------------------------


@dataclass
class Mutes:
    service: str = ""

    def muted(self, service, template_id, text, now):
        return self if service == self.service else None


def opened(name, minute=0.0, score=0.95, kind="opened"):
    incident = Incident(
        name,
        name,
        name,
        "open",
        Severity.of(score),
        name,
        after(minute),
        after(minute),
        1,
        verdict(minute, name, score=score),
    )
    return Change(kind, incident, after(minute))


def test_each_tier_goes_its_way():
    sent = decide(
        [opened("a", score=0.95), opened("b", score=0.8), opened("c", score=0.6)], [], Mutes(), Config()
    )
    assert [(each.alert.tier, each.at_once) for each in sent] == [
        (Severity.PAGE, True),
        (Severity.DIGEST, False),
        (Severity.INDEX, False),
    ]


def test_when_the_budget_of_a_day_is_spent_incidents_wait_for_the_digest():
    changes = [opened(f"i{number}", number) for number in range(4)] + [opened("next day", 24 * 60)]
    sent = decide(changes, [], Mutes(), Config(budget_per_day=2))
    assert [each.at_once for each in sent] == [True, True, False, False, True]
    assert all(each.incident.severity is Severity.PAGE for each in sent)
    first, rest = changes[:1], changes[1:]
    before = [each.alert for each in decide(first, [], Mutes(), Config(budget_per_day=2))]
    later = decide(rest, before, Mutes(), Config(budget_per_day=2))
    assert [each.alert for each in sent[1:]] == [each.alert for each in later]


def test_only_what_was_told_at_once_is_told_to_be_over():
    past = [each.alert for each in decide([opened("a"), opened("b", score=0.8)], [], Mutes(), Config())]
    over = [
        opened("a", 40, kind="resolved"),
        opened("b", 40, kind="resolved"),
        opened("a", 41, kind="updated"),
    ]
    sent = decide(over, past, Mutes(), Config())
    assert [(each.alert.incident, each.alert.kind) for each in sent] == [("a", "resolved")]


def test_what_is_muted_is_noted_but_never_sent_and_spends_nothing():
    changes = [opened("noisy"), opened("a", 1)]
    sent = decide(changes, [], Mutes("noisy"), Config(budget_per_day=1))
    assert [(each.alert.muted, each.at_once) for each in sent] == [(True, False), (False, True)]


def test_a_digest_tells_all_that_waits_once_its_time_has_come():
    changes = [opened("a", score=0.8), opened("b", 600, score=0.8), opened("c", 1, score=0.6)]
    past = [each.alert for each in decide(changes, [], Mutes(), Config())]
    assert digest_due(past, after(60 * 24 - 1), Config()) == []
    assert [each.incident for each in digest_due(past, after(60 * 24), Config())] == ["a", "b"]
    assert digest_due([replace(each, digested=True) for each in past], after(60 * 99), Config()) == []


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0.51, 1.0)), max_size=40), st.integers(0, 3))
def test_no_day_ever_pages_more_incidents_than_the_budget(events, budget):
    changes = [opened(f"i{n}", minute, score) for n, (minute, score) in enumerate(sorted(events))]
    sent = decide(changes, [], Mutes(), Config(budget_per_day=budget))
    days = per_day(each.alert for each in sent)
    assert all(day["page"] <= budget for day in days.values())
    assert sum(sum(day.values()) for day in days.values()) == len(changes)


# What each choice would have meant --------------------------------------------------------------------

COSTS = Config(cost_false_alarm=1, cost_miss=4)


def doubted(name, doubt, minute=0.0, score=0.95):
    return replace(opened(name, minute, score), doubt=doubt)


def test_with_costs_an_incident_leaves_at_once_if_silence_is_expected_to_cost_more():
    changes = [
        doubted("page", 0.9),
        doubted("index", 0.7, 1, score=0.6),
        doubted("digest", 0.85, 2, score=0.8),
    ]
    sent = decide(changes, [], Mutes(), COSTS)
    assert [each.alert.tier for each in sent] == [Severity.DIGEST, Severity.PAGE, Severity.DIGEST]
    assert [each.incident.severity for each in sent] == [Severity.PAGE, Severity.INDEX, Severity.DIGEST]


def test_costs_take_the_place_of_the_budget():
    changes = [doubted(f"i{number}", 0.1, number) for number in range(9)]
    sent = decide(changes, [], Mutes(), COSTS.model_copy(update={"budget_per_day": 1}))
    assert all(each.at_once for each in sent)


def test_without_costs_the_tails_say_nothing_about_what_is_sent():
    changes = [doubted("a", 1.0), doubted("b", 0.0, 1)]
    assert [each.at_once for each in decide(changes, [], Mutes(), Config())] == [True, True]


def test_what_people_would_call_a_false_alarm_waits_and_spends_nothing():
    changes = [
        replace(doubted("refused", 0.0), relevance=0.4),
        replace(doubted("wanted", 1.0, 1), relevance=0.6),
    ]
    sent = decide(changes, [], Mutes(), Config(budget_per_day=1))
    assert [each.alert.tier for each in sent] == [Severity.DIGEST, Severity.PAGE]
    by_costs = decide(changes, [], Mutes(), Config(cost_false_alarm=1, cost_miss=1))
    assert [each.alert.tier for each in by_costs] == [Severity.DIGEST, Severity.PAGE]


def test_one_cost_alone_is_refused():
    with pytest.raises(ValueError, match="both or none"):
        Config(cost_miss=3)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6), st.integers(0, 10**4))
def test_the_share_of_false_alarms_is_a_share_and_falls_with_the_score(one, other, judged, found):
    large, small = (false_share(score, judged, found) for score in sorted((one, other)))
    assert 0 <= small <= large <= 1


@pytest.mark.parametrize(("score", "share"), PROMISED)
def test_the_scale_of_scores_promises_so_many_false_alarms(score, share):
    assert normal_share(score) == pytest.approx(share)
    assert normal_share(score + 1e-9) == pytest.approx(share)


def test_each_choice_tells_what_the_same_decisions_would_have_sent():
    changes = [doubted(f"i{n}", 0.25, n, score) for n, score in enumerate((0.95, 0.92, 0.99, 0.8, 0.6))]
    told = {choice.option: choice for choice in choices(changes, Mutes(), Config(budget_per_day=2))}
    two = told["--alert-budget 2/day"]
    assert (two.incidents, two.at_once, two.digest, two.weakest) == (5, 2, 2, 0.92)
    assert (told["no budget"].at_once, told["no budget"].weakest) == (3, 0.92)
    dear = told["--cost-false-alarm 1 --cost-miss 10"]
    assert (dear.at_once, dear.expected_false, dear.expected_cost) == (5, 1.25, 1.25)


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.floats(0.51, 1.0), st.floats(0, 1)), min_size=1, max_size=30)
)
def test_the_cheapest_of_all_choices_is_the_one_that_knows_the_costs(events):
    """Incidents that are told once: to decide by their costs then costs least by the same costs."""
    changes = [
        doubted(f"i{n}", doubt, minute, score) for n, (minute, score, doubt) in enumerate(sorted(events))
    ]
    by_costs, free = Config(cost_false_alarm=1, cost_miss=3), Config(budget_per_day=None)
    chosen = {sent.incident.id for sent in decide(changes, [], Mutes(), by_costs) if sent.at_once}
    other = {sent.incident.id for sent in decide(changes, [], Mutes(), free) if sent.at_once}

    def cost(sent):
        return sum(
            change.doubt if change.incident.id in sent else 3 * (1 - change.doubt) for change in changes
        )

    assert cost(chosen) <= cost(other) + 1e-9


def test_verdicts_of_a_finished_log_make_the_incidents_that_a_replay_would():
    verdicts = [verdict(60), verdict(0), verdict(10, score=0.99), verdict(10, service="mail")]
    changes = moved(verdicts, judged=1000)
    assert [change.incident.service for change in changes if change.kind == "opened"] == ["shop", "mail"]
    told = {change.incident.worst.score: change.doubt for change in changes}
    assert told[0.95] == pytest.approx(false_share(0.95, 1000, 4))
    assert told[0.99] == pytest.approx(false_share(0.99, 1000, 1))
    assert choices([], Mutes(), Config()) == ()


@pytest.mark.parametrize(
    "command", [["backtest", "--cost-false-alarm", "2", "--cost-miss", "3"], ["train", "--model", "m"]]
)
def test_backtest_and_train_tell_what_each_choice_would_have_sent(command, tmp_path):
    log = wrote(tmp_path / "orders.log", orders(400, odd=(250, 390)))
    options = ["--session-regex", r"ord_\d+", "--state-dir", str(tmp_path / "state")]
    told = CliRunner().invoke(cli.cli, [command[0], str(log), *command[1:], *options]).output
    assert "what each choice would have sent" in told
    assert "--alert-budget 5/day: " in told
    assert " incidents at once, the weakest at score " in told
    assert "--cost-false-alarm 1 --cost-miss 10: " in told
    assert ("--cost-false-alarm 2 --cost-miss 3: " in told) == (command[0] == "backtest")


@pytest.mark.parametrize(
    "options",
    [
        ["--cost-miss", "3"],
        ["--cost-miss", "3", "--cost-false-alarm", "0"],
        ["--cost-miss", "3", "--cost-false-alarm", "1", "--alert-budget", "5/day"],
    ],
)
def test_costs_go_together_are_above_zero_and_exclude_a_budget(options, tmp_path):
    log = wrote(tmp_path / "orders.log", orders(20, odd=()))
    assert CliRunner().invoke(cli.cli, ["backtest", str(log), *options]).exception.exit_code == 2
