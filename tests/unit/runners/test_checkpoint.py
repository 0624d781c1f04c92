from __future__ import annotations

import errno
import multiprocessing
import shutil
import time
from pathlib import Path

import pytest

from rlinf.errors import UserError
from rlinf.runners import checkpoint


def write_one(folder: Path) -> None:
    (folder / "policy").mkdir()
    (folder / "policy" / "weights.bin").write_bytes(bytes(range(256)) * 64)
    (folder / "trainer.json").write_text("{}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for step in (1, 2, 10):
        checkpoint.save(tmp_path / "checkpoints", step, write_one, keep=3)
    return tmp_path / "checkpoints"


def test_the_newest_checkpoint_is_found_by_number_not_by_name(root: Path):
    folder, warnings = checkpoint.find(root, "auto")
    assert folder == root / "global_step_10" and not warnings
    assert checkpoint.step_of(root / "global_step_10") == 10
    assert (root / "latest").read_text() == "global_step_10\n"


def test_only_the_newest_are_kept(root: Path):
    checkpoint.save(root, 11, write_one, keep=2)
    assert sorted(p.name for p in root.glob("global_*")) == ["global_step_10", "global_step_11"]


def test_a_flipped_bit_is_noticed_and_the_previous_checkpoint_used(root: Path):
    damaged = root / "global_step_10" / "policy" / "weights.bin"
    content = bytearray(damaged.read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(bytes(content))
    folder, warnings = checkpoint.find(root, "auto")
    assert folder == root / "global_step_2"
    assert "policy/weights.bin has another checksum" in warnings[0]


def test_a_truncated_file_is_noticed(root: Path):
    damaged = root / "global_step_10" / "policy" / "weights.bin"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert checkpoint.verify(root / "global_step_10") == (
        "policy/weights.bin has 16383 bytes instead of 16384"
    )


def test_a_folder_without_manifest_does_not_count(root: Path):
    (root / "global_step_10" / "manifest.json").unlink()
    assert checkpoint.find(root, "auto")[0] == root / "global_step_2"


def test_an_explicit_damaged_path_is_refused_with_the_reason(root: Path):
    (root / "global_step_2" / "trainer.json").unlink()
    with pytest.raises(UserError, match=r"global_step_2: trainer.json is missing"):
        checkpoint.find(root, str(root / "global_step_2"))


def test_a_run_that_dies_while_writing_leaves_the_previous_checkpoint(root: Path):
    def die(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(root, 12, die, keep=2)
    assert checkpoint.find(root, "auto")[0] == root / "global_step_10"
    assert not list(root.glob(".global_step_*"))


def test_leftovers_of_a_killed_run_are_removed_by_the_next_save(root: Path):
    (root / ".global_step_12.4711.tmp").mkdir()
    checkpoint.save(root, 13, write_one, keep=2)
    assert not list(root.glob(".global_step_*"))


def test_an_old_checkpoint_that_cannot_be_removed_is_no_reason_not_to_save(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """One was moved to another disk, with a link in its place; one belongs to another user."""
    (root / "global_step_1").rename(tmp_path / "moved")
    (root / "global_step_1").symlink_to(tmp_path / "moved")
    remove = shutil.rmtree

    def refuse(path: Path, **how: bool) -> None:
        if path.name == "global_step_2":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        remove(path, **how)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    for step in (11, 12):
        checkpoint.save(root, step, write_one, keep=1)
        assert checkpoint.find(root, "auto") == (root / f"global_step_{step}", [])
    assert sorted(p.name for p in root.glob("global_*")) == ["global_step_12", "global_step_2"]
    assert checkpoint.verify(tmp_path / "moved") is None
    said = caplog.text
    assert said.count(f"global_step_1 was a link: {tmp_path / 'moved'} stays") == 1
    assert said.count("global_step_2 stays, it cannot be removed: [Errno 13]") == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"../elsewhere", b"global_step_"])
def test_a_damaged_pointer_is_refused_with_what_to_name(root: Path, content: bytes):
    (root / "latest").write_bytes(content)
    with pytest.raises(UserError, match=r"latest is damaged(.|\n)*checkpoints/global_step_N"):
        checkpoint.follow(root / "latest")


@pytest.mark.parametrize(
    "manifest",
    (
        *("", "\xff", "[]", "{}", '{"files": []}', '{"step": 1}', '{"step": 1, "files": {}}'),
        '{"step": 1, "files": {"a": 1}}',
        '{"files": {"trainer.json": {"bytes": 2, "sha256": ""}}}',
    ),
)
def test_a_manifest_without_files_or_step_does_not_count(root: Path, manifest: str):
    newest = root / "global_step_10"
    (newest / "manifest.json").write_bytes(manifest.encode("latin-1"))
    assert checkpoint.verify(newest) in ("manifest.json is damaged", "manifest.json names no files")
    with pytest.raises(UserError, match=r"global_step_10: manifest\.json"):
        checkpoint.find(root, str(newest))
    assert checkpoint.find(root, "auto")[0] == root / "global_step_2"
    checkpoint.save(root, 11, write_one, keep=2)  # which looks for the best of all


def test_an_empty_run_has_nothing_to_resume(tmp_path: Path):
    assert checkpoint.find(tmp_path, "auto") == (None, [])


def save_judged(root: Path, step: int, score: float | None, keep: int = 1) -> None:
    building = checkpoint.begin(root, step)
    write_one(building)
    checkpoint.commit(building, step, keep, score)


def test_the_best_stays_beside_the_newest(tmp_path: Path):
    for step, score in enumerate([0.5, 0.8, 0.7, None], start=1):
        save_judged(tmp_path, step, score)
    kept = sorted(p.name for p in tmp_path.glob("global_*"))
    assert kept == ["global_step_2", "global_step_4"]
    assert checkpoint.follow(tmp_path / "best") == tmp_path / "global_step_2"
    assert checkpoint.follow(tmp_path / "latest") == tmp_path / "global_step_4"
    save_judged(tmp_path, 5, 0.8)  # as good, and newer
    assert checkpoint.follow(tmp_path / "best") == tmp_path / "global_step_5"
    assert [p.name for p in tmp_path.glob("global_*")] == ["global_step_5"]


def test_what_was_begun_and_not_committed_counts_for_nothing(root: Path):
    building = checkpoint.begin(root, 11)
    write_one(building)
    assert checkpoint.find(root, "auto")[0] == root / "global_step_10"
    checkpoint.abandon(building)
    assert not list(root.glob(".global_step_*"))


def test_a_process_killed_while_it_writes_leaves_the_previous_checkpoint(root: Path):
    context = multiprocessing.get_context("fork")
    begun = context.Event()

    def write_for_ever(folder: Path) -> None:
        write_one(folder)
        begun.set()
        time.sleep(600)

    process = context.Process(target=checkpoint.save, args=(root, 11, write_for_ever, 2))
    process.start()
    assert begun.wait(60)
    process.kill()
    process.join()
    assert [p.name for p in root.glob(".global_step_*")] == [f".global_step_11.{process.pid}.tmp"]
    assert checkpoint.find(root, "auto") == (root / "global_step_10", [])
    checkpoint.save(root, 12, write_one, keep=2)
    assert not list(root.glob(".global_step_*"))
