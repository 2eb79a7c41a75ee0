"""The command that says how good the judgement is: evaluate."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logad.cli.console import looks, observed, refuse_sources, tell_faults, written_to
from logad.cli.options import (
    output_options,
    reading_options,
    sources_argument,
    standard_options,
    windowing_options,
)
from logad.errors import ExitCode

if TYPE_CHECKING:  # heavy: imported only when the command runs
    from logad.evaluation.evaluating import EvaluationResult, Labelled
    from logad.evaluation.metrics import Measured
    from logad.evaluation.trials import Trials

_WIDTH = 80
_NAME = 22
_TITLES = {"f1": "F1", "precision": "precision", "recall": "recall", "pr_auc": "PR-AUC", "roc_auc": "ROC-AUC"}
_BASELINES = {"flag_all": "flag everything", "severity_words": "severity words alone"}
_TIERS = {"index": "score above .5", "digest": "score above .7", "page": "score above .9"}
_MOST_SERVICES = 20


@click.command()
@sources_argument
@click.option("--labels", metavar="FILE", help="CSV of what is anomalous, by session, line or time.")
@click.option("--inject", is_flag=True, help="Plant anomalies of seven kinds; tell what is caught.")
@standard_options
@click.option("--warmup", metavar="N", help="Learn from what comes first: 10000r, 2h or 50%; judge the rest.")
@click.option("--folds", type=int, metavar="N", help="Judge N parts, each by all that came before it.")
@windowing_options
@output_options
@reading_options
def evaluate(  # noqa: PLR0913, PLR0917  (one parameter an option)
    sources: tuple[str, ...],
    labels: str | None,
    inject: bool,
    baseline: tuple[str, ...],
    baseline_clean: bool,
    model: str | None,
    warmup: str | None,
    folds: int | None,
    form: str,
    output: Path | None,
    stats_file: Path | None,
    **options: Any,  # noqa: ANN401
) -> int:
    """How good the judgement is, against labels or planted anomalies.

    Judges as scan does, and prints two baselines beside it: flag everything,
    and severity words alone. Labels change no judgement.
    """
    from logad.evaluation import evaluating

    refuse_sources(output, (*sources, *baseline, *([labels] if labels else [])))
    with observed(stats_file) as observer:
        result = evaluating.evaluate(
            *sources,
            labels=labels,
            inject=inject,
            baseline=baseline,
            baseline_clean=baseline_clean,
            model=model,
            warmup=warmup,
            folds=folds,
            observer=observer,
            **options,
        )
    with written_to(output) as out:
        if form == "text":
            width, _ = looks(out)
            out.writelines(told(result, min(width, _WIDTH)))
        elif form == "csv":
            out.writelines(_csv(result))
        else:
            out.write(json.dumps(result.as_dict(), indent=1 if form == "json" else None) + "\n")
    tell_faults(result.faults, result.stats)
    return ExitCode.INPUT if result.faults else ExitCode.DONE


def told(result: "EvaluationResult", width: int) -> Iterator[str]:
    """The evaluation for people, in lines of at most so many columns."""
    from logad.wording import plain, wrapped

    for text in (
        f"{result.windows:,} windows judged: {plain(result.windowing.describe())}",
        f"{result.protocol}",
        *(f"doubt: {doubt}" for doubt in result.doubts),
    ):
        yield from (f"{line}\n" for line in wrapped(text, width))
    if result.labelled is not None:
        yield "\n"
        yield from _labelled(result.labelled, width)
    if result.planted is not None:
        yield "\n"
        yield from _planted(result.planted, width)


def _labelled(found: "Labelled", width: int) -> Iterator[str]:
    from logad.wording import counted, wrapped

    labels = counted(found.labels, "label")
    notes = [f"{found.all.anomalous:,} of {found.all.windows:,} windows are anomalous by {labels}"]
    if found.unmatched:
        verb = "is" if found.unmatched == 1 else "are"
        notes.append(f"{counted(found.unmatched, 'label')} {verb} about none of the windows")
    if found.unlabelled:
        verb = "is" if found.unlabelled == 1 else "are"
        notes.append(f"{counted(found.unlabelled, 'window')} without a label {verb} left out")
    if found.assumed_normal:
        verb = "counts" if found.assumed_normal == 1 else "count"
        unlabelled = counted(found.assumed_normal, "window")
        notes.append(f"{unlabelled} without a label {verb} as normal, for only anomalies are labelled")
    for note in notes:
        yield from (f"{line}\n" for line in wrapped(note, width))
    yield "\n" + _heading("") + _row("logad", found.all)
    yield from (_row(_BASELINES[name], each) for name, each in found.baselines.items())
    yield "\n" + _heading("", few=True)
    yield from (_row(_TIERS[name], each, few=True) for name, each in found.tiers.items())
    cells = found.all
    yield f"\n{'':<{_NAME}}{'flagged':>11}{'not flagged':>13}\n"
    yield f"{'anomalous':<{_NAME}}{cells.tp:>11,}{cells.fn:>13,}\n"
    yield f"{'normal':<{_NAME}}{cells.fp:>11,}{cells.tn:>13,}\n"
    yield "\n" + _heading("beginning from")
    yield from (_row(name, each) for name, each in found.periods.items())
    if found.folds:
        yield "\n" + _heading("judged by the past")
        yield from (_row(name, each) for name, each in found.folds.items())
    if len(found.services) > 1:
        yield "\n" + _heading("service")
        most = sorted(found.services.items(), key=lambda item: -item[1].anomalous)[:_MOST_SERVICES]
        yield from (_row(name, each) for name, each in sorted(most))
        if len(most) < len(found.services):
            yield f"and {len(found.services) - len(most):,} with no more anomalous windows\n"


def _planted(found: "Trials", width: int) -> Iterator[str]:
    from logad.wording import wrapped

    share = found.flagged / found.windows if found.windows else 0.0
    about = (
        f"planted anomalies: each kind in rounds of its own, into windows that were not flagged; "
        f"before planting, {share:.2%} of {found.windows:,} windows were"
    )
    yield from (f"{line}\n" for line in wrapped(about, width))
    columns = f"{'planted':>8}{'caught':>8}{'':>7}{'named':>7}{'flagged else':>14}{'only since':>12}"
    yield f"\n{'':<15}{'':<8}{columns}\n"
    for each in found.outcomes:
        row = each.as_dict()
        caught, named = (_percent(row[name], 0) for name in ("caught_share", "named_share"))
        alarms, new = (_percent(row[name], 2) for name in ("false_alarms", "new_false_alarms"))
        if not each.planted:
            yield f"{each.kind:<15}{each.strength:<8}{'no window that it could be planted into':>8}\n"
            continue
        yield (
            f"{each.kind:<15}{each.strength:<8}{each.planted:>8,}{each.caught:>8,}{caught:>7}{named:>7}"
            f"{alarms:>14}{new:>12}\n"
        )
    yield "\n"
    legend = (
        "named: of those caught, how many have the planted template in their first reason; flagged else: "
        "the share of windows nothing was planted into; only since: that were not flagged before"
    )
    yield from (f"{line}\n" for line in wrapped(legend, width))


def _heading(name: str, *, few: bool = False) -> str:
    titles = "".join(f"{_TITLES[figure]:>10}" for figure in _figures(few=few))
    return f"{name:<{_NAME}}{titles}\n"


def _row(name: str, figures: "Measured", *, few: bool = False) -> str:
    from logad.wording import cut, plain

    told = figures.as_dict()
    cells = "".join(
        f"{'-' if told[figure] is None else format(told[figure], '.3f'):>10}" for figure in _figures(few=few)
    )
    return f"{cut(plain(name), _NAME - 1):<{_NAME}}{cells}\n"


def _figures(*, few: bool) -> list[str]:
    """The columns of a table; the few that depend on a threshold, or all."""
    return list(_TITLES)[: 3 if few else None]


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{share:.{digits}%}"


def _csv(result: "EvaluationResult") -> Iterator[str]:
    """A row for each line of the tables: the figures, or what became of a kind of planted anomaly."""
    from logad.writing import csv_rows

    names = ("part", "name", "windows", "anomalous", "tp", "fp", "fn", "tn", *_TITLES)
    planting = ("strength", "planted", "caught", "nameable", "named", "false_alarms", "new_false_alarms")
    rows: list[Mapping[str, Any]] = []
    if (found := result.labelled) is not None:
        tables = {
            "judgement": {"logad": found.all},
            "baseline": found.baselines,
            "tier": found.tiers,
            "period": found.periods,
            "fold": found.folds,
            "service": found.services,
        }
        for part, table in tables.items():
            for name, figures in table.items():
                told = figures.as_dict()
                rows.append({"part": part, "name": name, **told, **told["confusion"]})
    if result.planted is not None:
        rows.extend(
            {"part": "planted", "name": outcome.kind, **outcome.as_dict()}
            for outcome in result.planted.outcomes
        )
    columns = (*names, *planting)
    return csv_rows(columns, (tuple(row.get(column) for column in columns) for row in rows))


COMMANDS = (evaluate,)
