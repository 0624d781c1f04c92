from __future__ import annotations

import errno
import json
import logging
import math
import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlinf.errors import UserError
from rlinf.logging.files import RecordFile, write_atomically
from rlinf.logging.writers import MetricWriters, read_metrics

KL, KL_ALIAS = "train/actor/approx_kl", "actor/approx_kl"


def make_writers(folder, backends=(), resume_step=None):
    return MetricWriters(folder, backends, "project", "run", {"seed": 1}, resume_step)


def write_steps(folder, steps, backends=(), resume_step=None):
    writers = make_writers(folder, backends, resume_step)
    for step in steps:
        writers.write(step, {KL: step / 8, "env/return": float(step)})
    writers.close()


def scalars(folder, tag):
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_every_call_is_one_json_line_with_canonical_names_only(tmp_path):
    write_steps(tmp_path, [1, 2], ["tensorboard"])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == [
        '{"step": 1, "train/actor/approx_kl": 0.125, "env/return": 1.0}',
        '{"step": 2, "train/actor/approx_kl": 0.25, "env/return": 2.0}',
    ]


def test_a_line_is_readable_as_soon_as_it_is_written(tmp_path):
    writers = make_writers(tmp_path)
    writers.write(1, {"env/return": 0.5})
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "env/return": 0.5}]
    writers.close()


def test_nan_and_infinity_become_null_with_one_warning_per_metric(tmp_path, caplog):
    writers = make_writers(tmp_path)
    for step in (1, 2, 3):
        writers.write(step, {"train/loss": math.nan, "env/return": math.inf, "env/reward": 0.5})
    writers.close()
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first == {"step": 1, "train/loss": None, "env/return": None, "env/reward": 0.5}
    assert [record.args[1] for record in caplog.records] == ["train/loss", "env/return"]


def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    write_steps(whole, range(1, 7))
    write_steps(resumed, range(1, 6))  # the last checkpoint was at step 3
    with (resumed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "train/lo')  # the crash tore this line
    write_steps(resumed, range(4, 7), resume_step=3)
    assert (resumed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_damaged_lines_are_left_out_on_resume_and_counted(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n[2]\n{"step": 2}\n{"step": 3}')
    make_writers(tmp_path, resume_step=3).close()
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'
    assert caplog.records[0].args == (path, 3)


def test_a_new_run_does_not_touch_the_metrics_of_another(tmp_path):
    write_steps(tmp_path, [1])
    with pytest.raises(UserError, match=r"already holds the metrics.*\n.*resume_dir=auto"):
        make_writers(tmp_path)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_a_service_that_refuses_leaves_nothing_that_looks_like_a_run(tmp_path, monkeypatch):
    def refuse(*_):
        raise UserError("no key")

    monkeypatch.setattr("rlinf.logging.writers.Uploader", refuse)
    (tmp_path / "run.log").touch()
    with pytest.raises(UserError, match="no key"):
        make_writers(tmp_path, ["tensorboard", "wandb"])
    assert [path.name for path in tmp_path.iterdir()] == ["run.log"]
    monkeypatch.undo()
    write_steps(tmp_path, [1], ["tensorboard"])
    monkeypatch.setattr("rlinf.logging.writers.Uploader", refuse)
    with pytest.raises(UserError, match="no key"):
        make_writers(tmp_path, ["tensorboard", "wandb"], resume_step=1)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1 and scalars(tmp_path, "env/return")


def test_a_folder_that_cannot_be_made_is_a_user_error_naming_the_key(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"runner\.logger\.log_path = .*/run: cannot be written"):
        make_writers(tmp_path / "file" / "run")


def test_tensorboard_reads_every_metric_under_all_its_names(tmp_path):
    write_steps(tmp_path, [1, 2], ["tensorboard"])
    assert scalars(tmp_path, KL) == scalars(tmp_path, KL_ALIAS) == [(1, 0.125), (2, 0.25)]


def test_tensorboard_forgets_the_steps_that_a_resumed_run_repeats(tmp_path):
    write_steps(tmp_path, [1, 2, 3], ["tensorboard"])
    write_steps(tmp_path, [3, 4], ["tensorboard"], resume_step=2)
    assert scalars(tmp_path, "env/return") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_tensorboard_takes_nan_and_names_that_are_no_text(tmp_path):
    writers = make_writers(tmp_path, ["tensorboard"])
    writers.write(1, {"eval/\udcff": 1.0, "train/loss": math.nan})
    writers.close()
    assert scalars(tmp_path, "eval/?") == [(1, 1.0)]
    assert math.isnan(scalars(tmp_path, "train/loss")[0][1])


class Disk:
    """Stands for the kernel's write: takes `space` bytes, then says that the disk is full."""

    def __init__(self, space):
        self.space = space
        self.write = os.write

    def __call__(self, descriptor, data):
        if self.space <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.write(descriptor, bytes(data)[: self.space])
        self.space -= written
        return written


def test_a_full_disk_costs_one_warning_and_loses_nothing(tmp_path, monkeypatch, caplog):
    writers = make_writers(tmp_path, ["tensorboard"])
    disk = Disk(space=30)  # less than a line: the first is torn and taken back
    monkeypatch.setattr(os, "write", disk)
    writers.write(1, {"env/return": 1.0})
    writers.write(2, {"env/return": 2.0})
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
    disk.space = 10**6
    writers.write(3, {"env/return": 3.0})
    monkeypatch.undo()
    writers.close()
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert scalars(tmp_path, "env/return") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 2  # one per file
    assert "No space left on device" in caplog.text


def test_a_disk_that_stays_full_loses_the_records_with_a_warning(tmp_path, monkeypatch, caplog):
    file = RecordFile(tmp_path / "file")
    monkeypatch.setattr(os, "write", Disk(space=0))
    file.append(b"one\n")
    file.append(b"two\n")
    file.close()
    assert caplog.messages[-1] == f"{tmp_path / 'file'}: 2 records were lost"


def test_a_log_of_the_warnings_may_itself_be_the_file_in_trouble(tmp_path, monkeypatch):
    file = RecordFile(tmp_path / "run.log")

    class IntoFile(logging.Handler):
        def emit(self, record):
            file.append(record.getMessage().encode() + b"\n")

    handler = IntoFile()
    logging.getLogger("rlinf").addHandler(handler)
    disk = Disk(space=0)
    monkeypatch.setattr(os, "write", disk)
    file.append(b"one\n")
    disk.space = 10**6
    file.append(b"two\n")
    logging.getLogger("rlinf").removeHandler(handler)
    file.close()
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert (lines[0], lines[2]) == ("one", "two")
    assert "trying again later" in lines[1]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "page"
    path.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("page", b"new")]
