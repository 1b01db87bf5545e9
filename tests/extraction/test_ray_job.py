"""`extract --ray_address`: the file that one process writes, from the processes of a cluster."""

from __future__ import annotations

import pickle
import shlex
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray
import ray.data  # its absence would fail the job's tests late
import torch
from ray import tune

from recbole_mm.__main__ import main
from recbole_mm.encoder import load_image_encoder
from recbole_mm.extraction import Pictures, extract
from recbole_mm.extraction.extract import Batch, Batches
from recbole_mm.extraction.ray_job import EncodeBatch, EncodeJob, checked
from recbole_mm.ray_session import ray_session
from tests import commands
from tests.extraction.shop import write_shop
from tests.tiny_clip import write_dual_clip
from tests.waiting import wait_until

if not hasattr(tune, "RunConfig"):
    pytest.skip("this ray is older than the job asks for", allow_module_level=True)


@pytest.fixture(scope="module")
def address():
    """Two nodes with one CPU each, which leave none for tasks beside the encoders; one says that it has a GPU."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # RecBole's Config empties it; Ray holds a node's GPUs to it
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1, num_gpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()
        ray.shutdown()
        patch.undo()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_dual_clip(tmp_path_factory.mktemp("clip"))


def run(command: str) -> int:
    return main(["extract", "--dataset", "shop", *shlex.split(command)])


def written(modality: str) -> bytes:
    """The feature file, which is taken away."""
    file = Path("shop", f"shop.{modality}.arrow")
    values = file.read_bytes()
    file.unlink()
    return values


def test_pictures_give_the_same_file_and_the_same_list_of_bad_ones(tmp_path, clip, address, capsys):
    """Relative paths, which the processes could not read; one process, for the GPU of the cluster."""
    write_shop(tmp_path, 20)
    Path("images/i3.png").write_bytes(b"no picture")
    Path("images/i7.png").unlink()
    Path("clip").symlink_to(clip)
    command = "--modality visual --images images --encoder clip --batch-size 3"
    run(command)
    whole, missing = written("visual"), Path("shop/shop.visual.missing.tsv").read_text()
    assert run(f"{command} --ray_address={address}") == 0
    assert written("visual") == whole
    assert Path("shop/shop.visual.missing.tsv").read_text() == missing
    listed = [line.split("\t")[0] for line in missing.splitlines()]
    assert listed[0] == "item_id" and {"i3", "i7"} <= set(listed)
    assert not {f"i{number}" for number in range(10)} - {"i3", "i7"} & set(listed)
    assert not list(Path("shop").glob(".shop.*"))
    assert "18 items" in capsys.readouterr().out


def test_texts_give_the_same_file_and_cut_ones_are_counted(tmp_path, clip, address, capsys, monkeypatch):
    """And Ray gathers no figures of its use, for which it starts a thread that outlives the job."""
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    write_shop(tmp_path)
    command = f"--modality textual --fields title,plot --encoder {clip} --batch-size 2 --float16"
    run(command)
    whole = written("textual")
    capsys.readouterr()
    assert run(f"{command} --ray_address={address} --device cpu") == 0
    assert written("textual") == whole
    assert "1 text was longer than the encoder's context" in capsys.readouterr().out
    assert not [thread.name for thread in threading.enumerate() if "usage" in thread.name]


def test_after_a_kill_finished_rows_are_not_computed_again(tmp_path, clip, address, capsys):
    """SIGKILL once some of the 300 rows are finished: another job takes them and ends in the same bytes.

    Two processes, which finish their batches in any order.
    """
    shop = write_shop(tmp_path, 300)
    pictures, encoder = Pictures(shop, Path("images")), load_image_encoder(str(clip))
    extract(shop, "visual", pictures, encoder, batch_size=1)
    whole = written("visual")
    command = f"--modality visual --images images --encoder {clip} --batch-size 1 --device cpu --ray_address={address}"
    with open("output.txt", "w") as output:
        words = ["-m", "recbole_mm", "extract", "--dataset", "shop", *shlex.split(command)]
        process = commands.start(words, output, output)
    wait_until(lambda: len(list(shop.glob(".shop.visual.*/0*.npz"))) >= 5, process, Path("output.txt"))
    process.kill()
    process.wait()
    finished = len(list(shop.glob(".shop.visual.*/0*.npz")))
    assert 5 <= finished < 300
    assert run(command) == 0
    assert f"\n{finished} of them have been finished by an earlier run" in capsys.readouterr().out
    assert written("visual") == whole


def test_what_fails_in_a_process_is_one_clear_error(tmp_path, clip, address, capsys):
    """A weight of the order of float16's largest number: features that half precision cannot hold."""
    from safetensors.torch import load_file, save_file

    shop = write_shop(tmp_path)
    large = tmp_path / "large"
    large.mkdir()
    for file in clip.iterdir():
        (large / file.name).write_bytes(file.read_bytes())
    weights = load_file(large / "model.safetensors")
    weights["visual_projection.weight"] *= 1e6
    save_file(weights, large / "model.safetensors", metadata={"format": "pt"})
    assert run(f"--modality visual --images images --encoder large --float16 --ray_address={address}") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the encoder's feature of item 'a' is not finite in float16; leave out --float16")
    assert not list(shop.glob("*.arrow"))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--images images --encoder CLIP --ray_address 127.0.0.1:1", "nothing answers at 127.0.0.1:1"),
        ("--fields plot --encoder tfidf --ray_address auto", "tfidf needs all texts at once"),
    ],
)
def test_before_anything_starts(tmp_path, clip, capsys, options, message):
    shop = write_shop(tmp_path)
    assert run(f"--modality visual {options}".replace("CLIP", str(clip))) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: --ray_address: {message}") and shown.count("\n") == 1
    assert sorted(path.name for path in shop.iterdir()) == ["shop.inter", "shop.item"]


@pytest.mark.parametrize(
    ("cluster", "device", "message"),
    [
        ("CLUSTER", "cuda:1", "--device: cuda:1 is one machine's"),
        pytest.param(
            "local",
            "cuda",
            "--device: no node of the Ray cluster has a GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
    ],
)
def test_devices(tmp_path, clip, address, capsys, cluster, device, message):
    write_shop(tmp_path)
    options = f"--modality visual --images images --encoder {clip} --device {device}"
    assert run(f"{options} --ray_address={cluster.replace('CLUSTER', address)}") == 2
    assert message in capsys.readouterr().err


def test_a_node_with_another_version_of_the_encoder(tmp_path, clip, address):
    batches = Batches(Pictures(write_shop(tmp_path), Path("images")), 2, np.float32)
    with ray_session(address):
        job = EncodeJob(batches, frozenset(), load_image_encoder, str(clip), "cpu", "sha256:another")
        block = EncodeBatch(ray.put(job))(pa.table({"start": [0]}))
    with pytest.raises(ValueError, match="has other files than on the machine that started the job"):
        checked(pickle.loads(block["outcome"][0].as_py()), batches.contents)


def test_a_picture_that_only_this_machine_can_read(tmp_path):
    """A node without the folder must not make a file in which its items are missing."""
    pictures = Pictures(write_shop(tmp_path), Path("images"))
    unread = Batch([], [], None, {"b": "[Errno 2] No such file"}, 0)
    with pytest.raises(ValueError, match="cannot read item 'b', which this machine can .*same path on every node"):
        checked(unread, pictures)
    Path("images/b.png").write_bytes(b"no picture")
    assert checked(unread, pictures) is unread


def test_one_of_several_pictures_that_only_this_machine_can_read(tmp_path):
    shop = write_shop(tmp_path)
    Path("images/b_1.png").write_bytes(Path("images/b.png").read_bytes())
    unread = Batch([], [], None, {}, 0, {"b": "1 of 2 files left out: [Errno 2] No such file"})
    with pytest.raises(ValueError, match="cannot read item 'b', which this machine can"):
        checked(unread, Pictures(shop, Path("images")))
    Path("images/b_1.png").write_bytes(b"no picture")
    assert checked(unread, Pictures(shop, Path("images"))) is unread
