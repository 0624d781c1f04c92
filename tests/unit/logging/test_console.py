from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys

import pytest

from rlinf.errors import UserError
from rlinf.logging import display
from rlinf.logging.console import SIGN_OF_LIFE_S, Console, open_console
from rlinf.metrics.outcome import Outcome, difference_interval

BEFORE = Outcome("before", success=0.25, low=0.18, high=0.33, episodes=128)
AFTER = Outcome("after", success=0.625, low=0.54, high=0.70, episodes=128)
METRICS = {"env/success_once": 0.5, "env/return": 1.25, "time/env_steps_per_second": 812.4}


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def shown(stream):
    return stream.getvalue().splitlines()


def test_without_a_terminal_every_step_is_one_plain_line():
    stream, clock = io.StringIO(), Clock()
    with Console(stream, clock) as console:
        with console.phase("rollout"):
            console.progress(64, 128)
            clock.now += 4.5
        clock.now += 0.5
        console.step(1, 10, METRICS)
        console.step(2, 10, {})
    first, second = shown(stream)
    assert first == (
        "step  1/10 | success 50% | return 1.25 | 812 env steps/s | rollout 4.5s | left 45s"
    )
    assert second.startswith("step  2/10 | success 50%")  # the last known one
    assert "\x1b" not in stream.getvalue()


def test_lines_are_never_wrapped_so_that_paths_can_be_copied(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    path = "/a/rather/long/path/of/a/run/checkpoints/global_step_12"
    with Console(stream) as console:
        console.paths({"model": path})
        console.note(path)
    assert shown(stream) == [f"model  {path}", path]


def test_a_phase_outside_of_the_steps_leaves_a_line_and_does_not_count_as_step_time():
    stream, clock = io.StringIO(), Clock()
    with Console(stream, clock) as console:
        with console.phase("imitation", once=True):
            clock.now += 8.0
        clock.now += 0.5
        console.step(1, 11, {})
    assert shown(stream) == ["imitation: 8.0s", "step  1/11 | left 5.0s"]


def test_only_outermost_phases_count_so_that_the_times_add_up():
    stream, clock = io.StringIO(), Clock()
    with Console(stream, clock) as console:
        with console.phase("rollout"), console.phase("render"):
            clock.now += 1.0
        with console.phase("rollout"):
            clock.now += 2.0
        console.step(1, 1, {})
    assert "rollout 3.0s" in shown(stream)[0]
    assert "render" not in shown(stream)[0]


def test_a_long_phase_gives_a_sign_of_life_in_plain_output():
    stream, clock = io.StringIO(), Clock()
    with Console(stream, clock) as console, console.phase("demonstrations"):
        console.progress(10, 300)
        clock.now += SIGN_OF_LIFE_S
        console.progress(30, 300)
        console.progress(31, 300)
    assert shown(stream) == ["  demonstrations 30/300"]


def test_only_our_own_words_reach_the_user():
    stream = io.StringIO()
    with Console(stream):
        logging.getLogger("rlinf.envs").warning("env 3 was restarted")
        logging.getLogger("rlinf.envs").debug("a detail")
        logging.getLogger("ray").warning("noise")
    logging.getLogger("rlinf.envs").warning("after the end")
    assert shown(stream) == ["warning: env 3 was restarted"]


def test_markup_in_texts_is_shown_as_it_is():
    stream = io.StringIO()
    with Console(stream) as console:
        console.note("put [red] cube on [/plate] :smile:")
    assert shown(stream) == ["put [red] cube on [/plate] :smile:"]


def test_success_that_is_not_a_number_is_no_success():
    stream = io.StringIO()
    with Console(stream) as console:
        console.step(1, 2, {"env/success_once": float("nan")})
    assert "success" not in shown(stream)[0]


def test_the_comparison_shows_both_rates_their_intervals_and_the_change():
    stream = io.StringIO()
    with Console(stream) as console:
        console.table(BEFORE, AFTER)
    header, before, after, change = (line.split() for line in shown(stream) if line.strip())
    assert header == ["success", "95%", "interval", "episodes"]
    assert before == ["before", "25.0%", "18.0%", "to", "33.0%", "128"]
    assert after == ["after", "62.5%", "54.0%", "to", "70.0%", "128"]
    # 0.375 - hypot(0.625 - 0.54, 0.33 - 0.25) and 0.375 + hypot(0.70 - 0.625, 0.25 - 0.18)
    assert change == ["change", "+37.5", "points", "+25.8", "to", "+47.8"]


def test_the_interval_of_a_difference_is_the_published_one():
    # Newcombe (1998), table II, first example: 56/70 against 48/80 gives 0.0524 to 0.3339.
    # Wilson: 56/70 has the centre (0.8 + 3.8415/140) / (1 + 3.8415/70) = 0.78439 and the half
    # width 0.09256, so 0.69183 to 0.87695; 48/80 likewise has 0.49046 to 0.70038.
    first = Outcome("", 48 / 80, 0.49046, 0.70038, 80)
    second = Outcome("", 56 / 70, 0.69183, 0.87695, 70)
    assert difference_interval(first, second) == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1:00")],
        *[(187.2, "3:07"), (3599.7, "1:00:00"), (7509, "2:05:09")],
    ],
)
def test_durations_are_short_and_roll_over(seconds, text):
    assert display.clock(seconds) == text


def test_the_time_left_is_the_mean_of_the_last_steps_times_those_to_go():
    state = display.RunState(step=3, total=13)
    assert state.seconds_left is None
    state.step_seconds.extend([2.0, 4.0])
    assert state.seconds_left == 30.0
    state.step = 13
    assert state.seconds_left is None


def test_a_sparkline_spans_zero_to_one():
    assert display.sparkline([0.0, 0.5, 1.0, 1.2, -0.1]) == "▁▅██▁"


RUN = """
import os, subprocess, sys, warnings
from pathlib import Path
from rlinf.logging.console import open_console
with open_console(Path(sys.argv[1])) as console:
    console.note("a word of ours")
    print("a print of a library")
    os.write(2, b"a line of a C library\\n")
    subprocess.run(["echo", "a line of a child"], check=True)
    warnings.warn("a Python warning")
    with console.phase("rollout"):
        console.progress(1, 2)
    console.step(1, 2, {"env/success_once": 0.5})
    if "fail" in sys.argv:
        raise ValueError("broken")
print("after the run")
"""


def test_the_log_file_gets_everything_and_the_terminal_only_our_words(tmp_path):
    log = tmp_path / "run.log"
    run = subprocess.run(
        [sys.executable, "-c", RUN, log], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    ours, step, after = run.stdout.splitlines()
    assert (ours, after) == ("a word of ours", "after the run")
    assert step.startswith("step 1/2 | success 50%")
    text = log.read_text()
    for expected in ("a word of ours", "a print of a library", "a line of a C library"):
        assert expected in text
    for expected in ("a line of a child", "a Python warning", "step 1/2 | success 50%"):
        assert expected in text
    assert "after the run" not in text


def test_a_run_log_that_cannot_be_written_is_a_user_error_naming_the_key(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"runner\.logger\.log_path = .*cannot be written"),
        open_console(tmp_path / "file" / "run.log"),
    ):
        pass


def test_an_error_reaches_the_terminal_after_the_display_has_ended(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", RUN, tmp_path / "run.log", "fail"], capture_output=True, text=True
    )
    assert run.stderr.rstrip().endswith("ValueError: broken")
    assert "ValueError: broken" in (tmp_path / "run.log").read_text()


def test_a_reader_that_went_away_does_not_end_the_run(tmp_path):
    program = RUN.replace('print("after the run")', "")
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "run.log"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, b"")
    assert "step 1/2" in (tmp_path / "run.log").read_text()


def on_a_terminal(arguments, columns, **environment):
    """What a program writes to a terminal of that width."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env=os.environ | {"TERM": "xterm", "COLUMNS": str(columns), **environment},
    )
    os.close(follower)
    output = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # Linux reports the end of a terminal as an error
            break
        output += part
    os.close(leader)
    assert process.wait() == 0
    return output.decode()


def test_a_terminal_gets_a_live_display_whose_last_state_stays(tmp_path):
    output = on_a_terminal([sys.executable, "-c", RUN, tmp_path / "run.log"], columns=100)
    last = output[output.rindex("elapsed") - 80 :]
    assert "\x1b[?25l" in output  # hides the cursor
    assert "\x1b[?25h" in output  # and shows it again
    assert "1/2" in last
    assert "50% in training  ▅" in last
    assert "a line of a C library" not in output


@pytest.mark.parametrize("columns", [30, 60])
def test_a_narrow_terminal_gets_no_broken_rows(tmp_path, columns):
    output = on_a_terminal([sys.executable, "-c", RUN, tmp_path / "run.log"], columns, NO_COLOR="1")
    last = output[output.rindex("step   ") :].split("\x1b")[0]
    assert max(len(line) for line in last.splitlines()) <= columns
    assert "\x1b[3" not in output.replace("\x1b[?25", "")  # no colours


def test_a_dumb_terminal_gets_plain_lines(tmp_path):
    output = on_a_terminal([sys.executable, "-c", RUN, tmp_path / "run.log"], 80, TERM="dumb")
    assert "step 1/2 | success 50%" in output
    assert "\x1b" not in output


def test_a_process_that_ends_at_once_gives_the_terminal_its_cursor_back(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, Console(terminal) as console:
        console.show_cursor()  # nothing to give back
        with console.phase("rollout"):
            console.show_cursor()
            said = b""
            while not said.endswith(b"\x1b[?25h\r\n"):
                said += os.read(ours, 1000)
            assert said.startswith(b"\x1b[?25l")
            assert said.count(b"\x1b[?25h") == 1
    os.close(ours)
