"""The pages about an evaluation: failures first, with what was filmed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from rlinf.logging.evaluation_page import markdown, page
from rlinf.metrics.comparison import compared
from rlinf.metrics.evaluation import SetPart, Shard, TrialKey
from tests.unit.metrics.evaluations import file_of, outcomes

FILMS = {
    TrialKey(0, 0, 0, 0): "video/eval/step_00000/a solved.mp4",
    TrialKey(1, 2, 102, 0): "/elsewhere/b.mp4",
}
FILE = file_of([*outcomes(0, "x.x"), *outcomes(1, "x..")], ["easy", "hard"], videos=FILMS)


def test_failures_stand_before_successes_and_link_their_videos():
    text = markdown("run", FILE)
    rows = re.findall(r"^\| (\d) \| (\d) \|.*\| (yes|no) \|.*$", text, re.M)
    assert [success for *_, success in rows] == ["no"] * 3 + ["yes"] * 3
    assert "[mp4](../video/eval/step_00000/a%20solved.mp4)" in text
    assert "[mp4](file:///elsewhere/b.mp4)" in text
    assert "# run: 50.0% (18.8% to 81.2%) of 6 episodes" in text  # Wilson's interval of 3 in 6
    assert "| easy | 66.7% |" in text and "| open the drawer | 66.7% |" in text
    assert "toy, up to 10 steps, seed 3, the most likely actions." in text


def test_the_page_says_which_suite_and_which_set_of_a_benchmark_it_is_of():
    file = file_of(outcomes(0, "x"), task_id="libero_spatial_swap")
    for text in (markdown("run", file), page("run", file)):
        assert "toy, libero_spatial_swap, up to 10 steps" in text
    part = SetPart(name="spatial swap", group="Pos", at_end=file.overall, remarks=["3 fell"])
    text = page("run", file.model_copy(update={"set": part}))
    assert "Set spatial swap of the column Pos." in text and "3 fell" in text


def test_tasks_of_one_instruction_are_told_apart_by_their_index():
    tasks = [task.model_copy(update={"label": "open it"}) for task in FILE.tasks]
    file = FILE.model_copy(update={"tasks": tasks})
    for text in (markdown("run", file), page("run", file)):
        assert "task 0: open it" in text and "task 1: open it" in text
    assert [row.label for row in compared(file, file)[:2]] == ["task 0: open it", "task 1: open it"]
    assert "task 0: open" not in markdown("run", FILE)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_shows_failures_first_and_needs_no_network():
    text = page("run", FILE)
    shown = _Page(text).found
    films = [attributes["src"] for tag, attributes in shown if tag == "video"]
    assert films == ["file:///elsewhere/b.mp4", "../video/eval/step_00000/a%20solved.mp4"]
    assert not [a for tag, a in shown if tag in ("script", "link", "img") or "http" in str(a)]
    assert text.index("Failures") < text.index("Successes") < text.index("Trials, failures first")


def test_what_a_task_is_called_is_text():
    tasks = [task.model_copy(update={"label": "<b>|x"}) for task in FILE.tasks]
    file = FILE.model_copy(update={"tasks": tasks})
    assert "<b>|x" not in page("<i>", file) and "<i>" not in page("<i>", file)
    assert "| task 0: <b>\\|x |" in markdown("run", file)


def test_a_shard_says_that_it_is_a_part():
    assert "Shard 1 of 4" in markdown(
        "run", file_of(outcomes(0, "x"), shard=Shard(index=1, count=4))
    )
