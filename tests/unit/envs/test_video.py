"""Videos of real recordings, decoded again; failures are brought about, not imitated."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import ImageFont

from rlinf.config.schema import VideoConfig
from rlinf.data.types import Start
from rlinf.envs import video
from rlinf.envs.episode import EpisodeBatch, EpisodeRules, Frame
from rlinf.envs.toy.reach import ToyReach
from rlinf.envs.video import (
    columns,
    draw_grids,
    episodes_shown,
    first_episodes,
    magnify,
    tile_grid,
    wrap,
    write_video,
)

STEPS = 12  # step limit of the episodes
CHUNK = 4
WARNINGS_ABOUT = "rlinf.envs.video"


def record(num_envs: int, chunks: int, auto_reset: bool = False) -> list[Frame]:
    """Envs in one line: 0, 2, ... go straight to their goal, 1, 3, ... move away from it."""
    simulator = ToyReach(num_envs, obs_dim=4, action_dim=1)
    rules = EpisodeRules(max_episode_steps=STEPS, record=num_envs)
    batch = EpisodeBatch(simulator, rules)
    starts = [Start(0, 0, seed) for seed in range(num_envs)]
    observation = batch.start(np.arange(num_envs), starts)
    goals = observation.state[:, 2]
    away = np.where(np.arange(num_envs) % 2, -1, 1)
    actions = np.repeat((np.sign(goals) * away)[:, None, None], CHUNK, axis=1)
    active = np.ones(num_envs, bool)
    for _ in range(chunks):
        following = starts if auto_reset else [None] * num_envs
        active = batch.run_chunk(actions, active, following).active
    return batch.take_frames()


def decode(path: Path) -> tuple[dict, np.ndarray]:
    """What the file says of itself, and its pictures: [N, H, W, 3] uint8."""
    reader: Iterator = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    width, height = about["size"]
    return about, np.stack(
        [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]
    )


def still(env: int, step: int, success: bool = False, ended: bool = False, size: int = 64) -> Frame:
    """A grey picture whose brightness says which one it is."""
    picture = np.full((size, size, 3), 40 * env + step, np.uint8)
    return Frame(env, step, 0.5, success, ended or success, "push the cube", picture)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_recording_becomes_an_mp4_with_one_picture_per_step(tmp_path: Path) -> None:
    frames = record(num_envs=3, chunks=3)
    path = tmp_path / "new folder" / "step_1.mp4"
    assert write_video(frames, VideoConfig(), path, fps=10) == path
    about, pictures = decode(path)
    # Env 1 moves away until the limit: its start and 12 steps.
    assert len(pictures) == 13
    assert about["fps"] == 10
    assert about["codec"] == "h264"
    assert about["pix_fmt"].startswith("yuv420p")
    # Two tiles of 64 * 4 pixels and three gaps of 4 pixels across.
    assert about["size"][0] == 2 * 256 + 3 * 4
    assert sorted(path.parent.iterdir()) == [path.with_suffix(".json"), path]


def test_without_info_the_tiles_are_the_magnified_pictures_alone(tmp_path: Path) -> None:
    frames = record(num_envs=1, chunks=1)
    path = tmp_path / "a.mp4"
    assert write_video(frames, VideoConfig(info_on_video=False), path, fps=10) == path
    about, pictures = decode(path)
    assert about["size"] == (264, 264)
    difference = pictures[-1, 4:-4, 4:-4].astype(int) - magnify(frames[-1].picture, 4)
    assert np.abs(difference).mean() < 6  # lossy, and colours at half the resolution


def test_info_is_written_below_the_picture_and_changes_with_the_step() -> None:
    plain = list(draw_grids([still(0, 3), still(0, 4)], info=False))
    first, second = draw_grids([still(0, 3), still(0, 4)], info=True)
    height = plain[0].shape[0] - 2 * 4
    assert first.shape[0] > plain[0].shape[0]
    assert np.array_equal(first[4 : 4 + height], plain[0][4 : 4 + height])
    strips = first[4 + height :], second[4 + height :]
    assert strips[0].max() > 200  # bright text on dark ground
    assert not np.array_equal(*strips)


@pytest.mark.parametrize("size", [16, 64, 256, 640])
def test_the_mark_and_the_text_are_large_enough_to_be_seen(size: int) -> None:
    (grid,) = draw_grids([still(0, 0, success=True, size=size)], info=True)
    width = grid.shape[1] - 8
    assert width >= 220
    corner = grid[4 : 4 + width // 4, 4 + 3 * width // 4 : 4 + width]
    green = (corner == (30, 160, 70)).all(axis=-1)
    assert green.sum() > 0.1 * green.size
    assert ((corner == 255).all(axis=-1)).sum() > 0.01 * green.size  # the tick itself
    strip = grid[4 + width :]
    bright = np.flatnonzero((strip > 150).any(axis=(1, 2)))
    assert bright[-1] - bright[0] > width / 16  # two lines of text


def test_an_env_that_ended_early_holds_its_last_picture_with_its_outcome() -> None:
    frames = [still(0, 0), still(1, 0), still(0, 1, success=True), still(1, 1)]
    frames.append(still(1, 2, ended=True))
    first, second = columns(frames)
    assert [frame.step for frame in first] == [0, 1, 1]
    assert [frame.step for frame in second] == [0, 1, 2]
    before, held, end = draw_grids(frames, info=True)
    solved, failed = slice(4, 260), slice(264, 520)
    assert np.array_equal(held[:, solved], end[:, solved])
    assert has_colour(end[:, solved], video._GREEN) and not has_colour(before, video._GREEN)
    assert has_colour(end[:, failed], video._RED) and not has_colour(held, video._RED)


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_held_pictures_of_a_real_recording_survive_the_encoder(tmp_path: Path) -> None:
    frames = record(num_envs=2, chunks=3)
    solved_at = max(frame.step for frame in frames if frame.env == 0)
    assert solved_at < STEPS
    path = tmp_path / "a.mp4"
    write_video(frames, VideoConfig(), path, fps=10)
    _, pictures = decode(path)
    left = pictures[:, :260, 4:260].astype(int)
    moves = np.abs(np.diff(left, axis=0)).mean(axis=(1, 2, 3))
    assert (moves[:solved_at] > 0.3).all()
    assert (moves[solved_at:] < 0.3).all()


def test_with_auto_reset_the_next_episode_follows_at_once() -> None:
    frames = record(num_envs=1, chunks=6, auto_reset=True)
    assert columns(frames) == [frames]
    ends = [i for i, frame in enumerate(frames) if frame.ended]
    assert len(ends) > 1
    for end in ends[:-1]:
        assert frames[end].success
        assert frames[end + 1].step == 0


def test_the_first_episode_of_each_env_can_be_cut_out() -> None:
    frames = [still(0, 0), still(1, 0), still(0, 1, ended=True), still(0, 0), still(1, 1)]
    assert [(f.env, f.step) for f in first_episodes(frames)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_an_episode_that_lost_its_start_or_its_end_gives_way_to_a_whole_one() -> None:
    """Env 0 lost an end, env 1 a start, as when a simulator fails; env 2 has no whole one."""
    frames = [still(0, 0), still(0, 1), still(0, 0), still(0, 1, ended=True), still(0, 0)]
    frames += [still(1, 3), still(1, 4, ended=True), still(1, 0), still(1, 1, ended=True)]
    frames += [still(2, 0), still(2, 1)]
    assert [(f.env, f.step, f.ended) for f in first_episodes(frames)] == [
        (0, 0, False), (0, 1, True), (1, 0, False), (1, 1, True), (2, 0, False), (2, 1, False),
    ]  # fmt: skip
    assert first_episodes(frames)[0] is frames[2]


def test_the_last_picture_has_a_frame_that_a_success_on_the_way_has_not() -> None:
    """An episode that runs to its limit may be solved earlier; then only the mark is there."""
    solved, ended = draw_grids(
        [still(0, 3, success=True)._replace(ended=False), still(0, 4, ended=True)], info=True
    )
    corner = slice(4, 7), slice(4, 7)  # the tile's, inside the gap around it
    assert (ended[corner] == video._RED).all() and not has_colour(solved[corner], video._GREEN)
    assert has_colour(solved, video._GREEN)


def test_envs_are_tiled_by_index_whatever_order_their_frames_come_in() -> None:
    one_by_one = [still(2, 0), still(2, 1), still(0, 0), still(0, 1)]
    mixed = [still(0, 0), still(2, 0), still(0, 1), still(2, 1)]
    assert [column[0].env for column in columns(one_by_one)] == [0, 2]
    for a, b in zip(draw_grids(one_by_one, True), draw_grids(mixed, True), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("tiles", "shape"),
    [
        (1, (10 + 8, 8 + 12)),
        (2, (10 + 8, 24 + 14)),
        (3, (20 + 12, 24 + 14)),
        (5, (20 + 12, 36 + 16)),
        (9, (30 + 16, 36 + 16)),
    ],
)
def test_tiles_form_a_near_square_grid_of_even_size(tiles: int, shape: tuple[int, int]) -> None:
    # Tiles of 9 x 11 pixels: an odd sum is filled up by one.
    pictures = [np.full((9, 11, 3), 100 + i, np.uint8) for i in range(tiles)]
    grid = tile_grid(pictures)
    across = {1: 1, 2: 2, 3: 2, 5: 3, 9: 3}[tiles]
    down = {1: 1, 2: 1, 3: 2, 5: 2, 9: 3}[tiles]
    height, width = 9 * down + 4 * (down + 1), 11 * across + 4 * (across + 1)
    assert grid.shape == (height + height % 2, width + width % 2, 3)
    for i in range(tiles):
        top, left = 4 + i // across * 13, 4 + i % across * 15
        assert (grid[top : top + 9, left : left + 11] == 100 + i).all()
    assert (grid < 100).all(axis=-1).sum() == grid[..., 0].size - tiles * 99


def test_text_is_wrapped_between_words_and_cut_after_the_last_line() -> None:
    font = ImageFont.load_default(14)
    text = "pick up the black bowl between the plate and the ramekin and place it on the plate"
    lines = wrap(text, font, 240, max_lines=9)
    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(font.getlength(line) <= 240 for line in lines)
    cut = wrap(text, font, 240, max_lines=2)
    assert cut[0] == lines[0]
    assert cut[1].endswith("...") and font.getlength(cut[1]) <= 240


def test_a_word_longer_than_a_line_is_broken_and_empty_text_is_no_line() -> None:
    font = ImageFont.load_default(14)
    lines = wrap("go " + "x" * 100, font, 240, max_lines=9)
    assert lines[0] == "go"
    assert "".join(lines[1:]) == "x" * 100
    assert wrap(" \n", font, 240, max_lines=9) == []


@pytest.mark.parametrize("text", ["", "放到盘子上", "broken \udc80 text", "tab\tnul\x00"])
def test_any_text_can_be_drawn(text: str) -> None:
    assert list(draw_grids([still(0, 0)._replace(instruction=text)], info=True))


def test_nothing_recorded_is_no_video_and_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert write_video([], VideoConfig(), tmp_path / "a.mp4", fps=10) is None
    assert not warnings(caplog)
    assert not list(tmp_path.iterdir())


def fails_with_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture, reason: str, count: int = 2
) -> None:
    frames = [still(0, step) for step in range(count)]
    assert write_video(frames, VideoConfig(), path, fps=10) is None
    (warning,) = warnings(caplog)
    assert str(path) in warning and reason in warning
    assert caplog.records[0].name == WARNINGS_ABOUT


def test_a_folder_that_cannot_be_made_costs_the_video_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails_with_one_warning(Path("/dev/null/videos/a.mp4"), caplog, "Not a directory")


def test_a_full_disk_costs_the_video_alone_and_leaves_no_part_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".a.mp4.partial").symlink_to("/dev/full")  # where the encoder will write
    fails_with_one_warning(tmp_path / "a.mp4", caplog, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_dies_costs_the_video_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = tmp_path / "limited"
    encoder = imageio_ffmpeg.get_ffmpeg_exe()
    limited.write_text(f'#!/bin/sh\nulimit -f 1\nexec "{encoder}" "$@"\n')
    limited.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(limited))
    # The kernel kills who writes more than a block.
    fails_with_one_warning(tmp_path / "a.mp4", caplog, f"exit code -{signal.SIGXFSZ}", count=200)
    assert list(tmp_path.iterdir()) == [limited]


def test_a_missing_encoder_costs_the_video_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))
    fails_with_one_warning(tmp_path / "a.mp4", caplog, "No such file")


def test_an_encoder_that_hangs_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\nexec sleep infinity\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(stuck))
    monkeypatch.setattr(video, "_ENCODER_TIMEOUT_S", 0.3)
    fails_with_one_warning(tmp_path / "a.mp4", caplog, "exit code -9")


def test_a_failure_leaves_the_video_that_was_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"of an earlier run")
    (tmp_path / ".a.mp4.partial").symlink_to("/dev/full")
    fails_with_one_warning(path, caplog, "No space left on device")
    assert path.read_bytes() == b"of an earlier run"


def test_the_newest_videos_of_a_series_are_kept_and_other_files_too(tmp_path: Path) -> None:
    for age, name in enumerate(
        ["step_10.mp4", "step_9.mp4", "step_8.mp4", "holiday.mp4", "a_1.mp4"]
    ):
        file = tmp_path / name
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    for name in ("step_10.json", "step_9.json"):
        (tmp_path / name).touch()
    write_video([still(0, 0)], VideoConfig(max_videos=2), tmp_path / "step_11.mp4", fps=10)
    left = {file.name for file in tmp_path.iterdir()}
    videos = {"step_11.mp4", "step_10.mp4", "holiday.mp4", "a_1.mp4"}
    assert left == {*videos, "step_11.json", "step_10.json"}


def test_beside_a_video_lies_which_of_its_episodes_were_solved() -> None:
    frames = [
        *(still(0, 0), still(0, 1, success=True), still(0, 2, ended=True)),
        *(still(1, 0), still(1, 1)),
        *(still(0, 0), still(0, 1, ended=True)),
    ]
    shown = [(e["env"], e["success"], e["steps"], e["ended"]) for e in episodes_shown(frames)]
    assert shown == [(0, True, 2, True), (1, False, 1, False), (0, False, 1, True)]


def test_the_new_video_is_kept_when_the_clock_went_back(tmp_path: Path) -> None:
    (tmp_path / "step_1.mp4").touch()
    os.utime(tmp_path / "step_1.mp4", (4e9, 4e9))
    write_video([still(0, 0)], VideoConfig(max_videos=1), tmp_path / "step_2.mp4", fps=10)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["step_2.json", "step_2.mp4"]
