"""Frames of videos that were made so that each frame's grey tells its number."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.__main__ import main
from recbole_mm.data.feature_file import read_features
from recbole_mm.encoder import load_image_encoder
from recbole_mm.io.videos import VideoError, open_frames
from tests.extraction.shop import write_shop
from tests.security.test_pictures import KINDS, make

av = pytest.importorskip("av")
STEP = 6  # of grey, from one frame to the next


def write_video(file: Path, n: int, codec: str = "mpeg4", width: int = 64, height: int = 48) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(n):
            grey = np.full((height, width, 3), STEP * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def numbers(frames) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / STEP) for frame in frames]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_frames_from_the_middles_of_equal_parts(tmp_path, name):
    write_video(tmp_path / name, 40)
    frames = open_frames(tmp_path / name, 4)
    assert numbers(frames) == [5, 15, 25, 35]
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (64, 48))}


def test_few_frames_are_given_again(tmp_path):
    write_video(tmp_path / "a.mp4", 2)
    assert numbers(open_frames(tmp_path / "a.mp4", 4)) == [0, 0, 1, 1]


def test_a_container_without_frames(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"a\.mkv cannot be read as a video \(it has no frames\); replace it"):
        open_frames(tmp_path / "a.mkv", 3)


@pytest.mark.parametrize("content", [b"", b"no video" * 99])
def test_no_video(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match="cannot be read as a video"):
        open_frames(tmp_path / "a.mp4", 4)


def test_frames_far_wider_than_high(tmp_path):
    write_video(tmp_path / "a.mp4", 2, width=3232, height=16)
    with pytest.raises(VideoError, match="it has 3232 x 16 pixels; one side may be 200 times the other at most"):
        open_frames(tmp_path / "a.mp4", 1)


def test_cut_short(tmp_path):
    write_video(tmp_path / "a.mp4", 40)
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(VideoError, match="cannot be read as a video"):
        open_frames(tmp_path / "a.mp4", 4)


def test_a_playlist_reads_no_other_file(tmp_path):
    """What ffmpeg would follow: files are given to it opened, and what they name is not."""
    write_video(tmp_path / "secret.mp4", 5)
    for text in ("#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile secret.mp4\n"):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(VideoError):
            open_frames(tmp_path / "a.mp4", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file(tmp_path, kind):
    make(tmp_path / "a.mp4", kind)
    with pytest.raises(VideoError, match="cannot be read as a video"):
        open_frames(tmp_path / "a.mp4", 1)


def test_pyav_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r'type: pip install "recbole-mm\[clip,video\]"'):
        open_frames(tmp_path / "a.mp4", 1)


def test_command(tmp_path, capsys):
    shop = write_shop(tmp_path)
    Path("videos").mkdir()
    for item, n in (("a", 8), ("b", 20)):
        write_video(Path("videos") / f"{item}.mp4", n)
    Path("videos/c.mp4").write_bytes(b"no video")
    command = f"extract --dataset {shop} --modality video --videos videos --encoder histograms --frames 2"
    assert main(shlex.split(command)) == 0
    table = read_features(shop, "shop", "video")
    assert (table.ids, json.loads(table.metadata["preprocessing"])["frames"]) == (["a", "b"], 2)
    with torch.no_grad():
        rows = load_image_encoder("histograms")(open_frames(Path("videos/b.mp4"), 2)).numpy()
    np.testing.assert_allclose(table.values[1], rows.mean(axis=0), rtol=1e-5)
    assert "c.mp4 cannot be read as a video" in (shop / "shop.video.missing.tsv").read_text()
    assert main(shlex.split(f"{command} --frames 0")) == 2
    assert "--frames: 0 must be from 1 to 10000" in capsys.readouterr().err
