"""Pages about one evaluation: rates with intervals, and every trial, failures first."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import PurePath
from urllib.parse import quote

from rlinf.logging.display import percent
from rlinf.logging.report import part
from rlinf.metrics.evaluation import EvaluationFile, SuccessRate, Trial, labels_of
from rlinf.wording import plural

_INTERVALS = "95 % Wilson intervals. Each trial counts once."


def markdown(title: str, file: EvaluationFile) -> str:
    """The page as Markdown."""
    lines = [f"# {title}: {_headline(file)}", ""]
    lines += [sentence + "\n" for sentence in _sentences(file)]
    for head, rates in _tables(file):
        lines += [f"## {head}", "", "| | success | 95 % interval | episodes |", "|---|---|---|---|"]
        lines += [f"| {_cell(r.label)} | {' | '.join(_numbers(r))} |" for r in rates] + [""]
    lines += ["## Trials, failures first", ""]
    lines += ["| task | start | repeat | seed | success | steps | ended by | video |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for trial in _failures_first(file):
        film = f"[mp4]({_link(trial.video)})" if trial.video else ""
        lines.append(f"| {' | '.join(_columns(trial))} | {film} |")
    return "\n".join(lines).rstrip() + "\n"


def page(title: str, file: EvaluationFile) -> str:
    """The page as HTML; it needs the videos beside it and nothing else."""
    trials = _failures_first(file)
    body = [f"<h1>{escape(title)}: {_headline(file)}</h1>"]
    body += [f"<p>{escape(sentence)}</p>" for sentence in _sentences(file)]
    for head, rates in _tables(file):
        rows = "".join(
            f"<tr><td>{escape(rate.label)}<td>{'<td>'.join(_numbers(rate))}" for rate in rates
        )
        top = "<tr><th><th>success<th>95 % interval<th>episodes"
        body.append(f"<h2>{head}</h2><table>{top}{rows}</table>")
    told = {task.task: task.instruction for task in file.tasks}
    style = part("page.css") + part("evaluation.css")
    for head, shown in _films(trials):
        films = "".join(_figure(trial, told[trial.task]) for trial in shown)
        body.append(f'<h2>{head}</h2><div class="films">{films}</div>')
    body.append(f"<h2>Trials, failures first</h2>{_table(trials)}")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{style}</style><main>{''.join(body)}</main></html>\n"
    )


def _headline(file: EvaluationFile) -> str:
    success, interval, episodes = _numbers(file.overall)
    return f"{success} ({interval}) of {plural(int(episodes), 'episode')}"


def _sentences(file: EvaluationFile) -> list[str]:
    env, sampling = file.settings.get("env", {}), file.settings.get("sampling", {})
    drawn = f"sampled at temperature {sampling.get('temperature_eval')}"
    actions = drawn if sampling.get("do_sample") else "the most likely actions"
    said = [_INTERVALS]
    if file.set is not None:
        said.append(f"Set {file.set.name} of the column {file.set.group}.")
        said += [f"{remark}." for remark in file.set.remarks]
    if env:
        where = ", ".join(filter(None, (env["simulator_type"], file.task_id)))
        said.append(
            f"{where}, up to {env['max_episode_steps']} steps, seed {env['seed']}, {actions}."
        )
    if file.step:
        said.append(f"The policy after {plural(file.step, 'iteration')} of training.")
    if file.shard.count > 1:
        said.append(f"Shard {file.shard.index} of {file.shard.count}: a part of all trials.")
    return said


def _tables(file: EvaluationFile) -> list[tuple[str, Sequence[SuccessRate]]]:
    groups = [rate.model_copy(update={"label": name}) for name, rate in file.groups.items()]
    labels = labels_of(file.tasks)
    tasks = [rate.model_copy(update={"label": labels[rate.task]}) for rate in file.tasks]
    tables: list[tuple[str, Sequence[SuccessRate]]] = [("By category", groups), ("By task", tasks)]
    return [(head, rates) for head, rates in tables if rates]


def _numbers(rate: SuccessRate) -> tuple[str, str, str]:
    success = "none" if rate.success is None else percent(rate.success, 1)
    return success, f"{percent(rate.low, 1)} to {percent(rate.high, 1)}", str(rate.episodes)


def _failures_first(file: EvaluationFile) -> list[Trial]:
    return sorted(file.episodes, key=lambda trial: (trial.success_once, trial.key))


def _columns(trial: Trial) -> tuple[str, ...]:
    success = "yes" if trial.success_once else "no"
    if trial.success_once and not trial.success_at_end:
        success = "yes, not at the end"
    numbers = (trial.task, trial.trial, trial.repeat, trial.seed)
    return (*map(str, numbers), success, str(trial.length), trial.ended)


def _films(trials: Sequence[Trial]) -> list[tuple[str, list[Trial]]]:
    shown = {
        "Failures": [one for one in trials if one.video and not one.success_once],
        "Successes": [one for one in trials if one.video and one.success_once],
    }
    return [(head, of_it) for head, of_it in shown.items() if of_it]


def _figure(trial: Trial, instruction: str) -> str:
    assert trial.video is not None
    about = f"task {trial.task}, start {trial.trial}, {plural(trial.length, 'step')}"
    return (
        f'<figure><video controls muted preload="metadata" src="{_link(trial.video)}"></video>'
        f"<figcaption><b>{escape(instruction)}</b>{about}</figcaption></figure>"
    )


def _table(trials: Sequence[Trial]) -> str:
    heads = ("task", "start", "repeat", "seed", "success", "steps", "ended by", "video")
    rows = []
    for trial in trials:
        film = f'<a href="{_link(trial.video)}">mp4</a>' if trial.video else ""
        lost = "" if trial.success_once else ' class="lost"'
        cells = [f"<td{lost if i == 4 else ''}>{c}" for i, c in enumerate(_columns(trial))]
        rows.append(f"<tr>{''.join(cells)}<td>{film}")
    return f"<table><tr><th>{'<th>'.join(heads)}{''.join(rows)}</table>"


def _link(video: str) -> str:
    """From the page, which lies in the folder `eval` of the run."""
    path = PurePath(video)
    return path.as_uri() if path.is_absolute() else quote(f"../{video}")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
