"""Really full disks and really read-only folders: one line that names the file, before the work where it can be."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import chdir, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mm.__main__ import main as run_command_line
from recbole_mm.data.arrow_form import write_arrow
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.extraction import Texts, extract
from recbole_mm.io.run_files import RunFiles
from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import main as run_main
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, start, write_planted
from tests.disks import BLOCK, Disk, small_disk
from tests.extraction.shop import write_shop

SETTINGS = {**PRE_SPLIT, "epochs": 2, "embedding_size": 8, "train_batch_size": 64}
FULL, READ_ONLY = "No space left on device", "Read-only file system"


@pytest.fixture(scope="module")
def data_path(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6})


@pytest.fixture(scope="module")
def checkpoint(data_path, tmp_path_factory) -> Path:
    run = start("VBPR", data_path, **SETTINGS, checkpoint_dir=str(tmp_path_factory.mktemp("saved")))
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return Path(trainer.saved_model_file)


@pytest.fixture(scope="module")
def with_graphs(data_path, tmp_path_factory) -> Path:
    """A checkpoint whose model reads graphs, without them."""
    with chdir(tmp_path_factory.mktemp("graphs")):
        run = start("FREEDOM", data_path, **SETTINGS, knn_k=3, checkpoint_dir="saved")
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        shutil.rmtree("saved/graphs")
        return Path(trainer.saved_model_file).absolute()


@pytest.fixture
def disk(tmp_path, checkpoint) -> Iterator[Disk]:
    """With a data set `shop` on it; beside it are files to convert."""
    write_shop(tmp_path)
    (tmp_path / "mmrec").mkdir()
    rows = "".join(f"u{row % 9}\t{row}\t{row % 3}\n" for row in range(400))
    (tmp_path / "mmrec" / "toy.inter").write_text(f"userID\titemID\tx_label\n{rows}")
    np.save(tmp_path / "mmrec" / "image_feat.npy", np.random.default_rng(0).standard_normal((400, 64)))
    np.save("rows.npy", np.random.default_rng(0).standard_normal((5, 4096)))
    Path("ids").write_text("a\nb\nc\nd\ne\n")
    with small_disk(tmp_path / "disk") as made:
        shutil.copytree(tmp_path / "shop", made.folder / "shop")
        (made.folder / "shop" / "shop.textual").write_text(
            "item_id:token\ttextual_feature:float_seq\n" + "".join(f"{item}\t{'1.5 ' * 4096}\n" for item in "abcde")
        )
        yield made


SHOP = "--dataset=disk/shop"
TFIDF = "--modality=plots --fields=title,plot --encoder=tfidf --width=2"
COMMANDS = {  # and what they write on the disk
    "recommend": ("recommend CHECKPOINT --out=disk/out.parquet", "disk/out.parquet"),
    "export": ("export CHECKPOINT --out=disk/vectors", "disk"),
    "analyse": ("analyse feature-drift CHECKPOINT --out=disk/figures", "disk/figures"),
    "extract": (f"extract {SHOP} {TFIDF}", "disk/shop/shop.plots.arrow"),
    "convert npy": (f"convert npy rows.npy --ids=ids --modality=visual {SHOP}", "disk/shop/shop.visual.arrow"),
    "convert arrow": (f"convert arrow --modality=textual {SHOP}", "disk/shop/shop.textual.arrow"),
    "convert mmrec": ("convert mmrec mmrec --name=toy --out=disk/out", "disk/out"),
}  # fmt: skip
commands = pytest.mark.parametrize("command", COMMANDS)


def end(capsys, command: str, checkpoint: Path) -> str:
    """The only line of a command that ends with an error."""
    capsys.readouterr()
    arguments = COMMANDS[command][0].replace("CHECKPOINT", str(checkpoint)).split()
    assert run_command_line(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert lines[-1] == line
    return line


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@commands
@pytest.mark.parametrize("reason", [FULL, READ_ONLY])
def test_a_command_ends_before_its_work(disk, checkpoint, capsys, monkeypatch, command, reason):
    for work in ("data.convert.load_npy", "data.convert.read_text", "data.conversion.convert.Spill",
                 "extraction.cli.Texts", "load.read_safe_pair"):  # fmt: skip
        monkeypatch.setattr(f"recbole_mm.{work}", lambda *_: pytest.fail("the work has begun"))
    disk.fill() if reason == FULL else disk.make_read_only()
    before = names(disk.folder)
    line = end(capsys, command, checkpoint)
    assert line.startswith(f"error: {COMMANDS[command][1]} cannot be written ({reason}); ")
    assert names(disk.folder) == before


@commands
def test_a_command_whose_disk_fills_meanwhile(disk, checkpoint, capsys, command):
    """There is room for the beginning of what it writes."""
    disk.fill(left=BLOCK)
    before = names(disk.folder)
    line = end(capsys, command, checkpoint)
    assert f" cannot be written ({FULL}); free space there" in line
    assert line.startswith(f"error: {COMMANDS[command][1].removesuffix('.arrow')}")
    folders = {"figures", "out"}
    whole = {"shop/shop.plots.arrow"}  # before the table of what is missing from it
    assert names(disk.folder) - before <= folders | whole


@commands
def test_the_same_commands_where_there_is_room(disk, checkpoint, command):
    assert run_command_line(COMMANDS[command][0].replace("CHECKPOINT", str(checkpoint)).split()) == 0


# ---------------------------------------------------------------- training


def arguments(data_path: Path, **settings) -> list[str]:
    given = {**QUIET, **SETTINGS, "state": "INFO", "data_path": data_path, **settings}
    return ["--model=VBPR", "--dataset=toy", *(f"--{key}={value}" for key, value in given.items())]


@pytest.mark.parametrize("key", ["checkpoint_dir", "log_dir", "tensorboard_dir", "graph_dir"])
@pytest.mark.parametrize("reason", [FULL, READ_ONLY])
def test_a_training_ends_before_it_loads_data(disk, data_path, capsys, key, reason):
    disk.fill() if reason == FULL else disk.make_read_only()
    assert run_main(arguments(data_path, **{key: disk.folder})) == 2
    line = f"error: {key}: nothing can be written to {disk.folder} ({reason}); set another folder\n"
    assert capsys.readouterr().err == line


def test_a_training_without_room_for_an_epoch_ends_before_the_first(disk, data_path, capsys, caplog):
    disk.fill(left=2 * BLOCK)
    with caplog.at_level("INFO"):
        assert run_main(arguments(data_path, checkpoint_dir=disk.folder)) == 2
    assert f"error: checkpoint_dir: {disk.folder} has 0.0 MB left, and a checkpoint of VBPR takes up to" in (
        capsys.readouterr().err
    )
    assert "epoch 0 training" not in caplog.text


@pytest.mark.parametrize(("epochs", "sets"), [(1, 1), (2, 2)])
def test_what_a_training_asks_for_is_what_its_files_take(disk, data_path, capsys, epochs, sets):
    """Those of an epoch beside those of the best one before, and the state of the last one.

    To 3 %: settings and paths, which stand in the files beside the weights, are not counted.
    """
    wide = {"embedding_size": 2048, "epochs": epochs}
    assert run_main(arguments(data_path, **wide, checkpoint_dir="saved")) == 0
    sizes = {file.name: file.stat().st_size for file in Path("saved").iterdir() if file.is_file()}
    state = next(size for name, size in sizes.items() if name.endswith(".resume.safetensors"))
    disk.fill(left=BLOCK)
    capsys.readouterr()
    assert run_main(arguments(data_path, **wide, checkpoint_dir=disk.folder)) == 2
    asked = float(re.search(r"takes up to ([\d.]+) MB while it is renewed", capsys.readouterr().err)[1])
    assert asked == pytest.approx((sets * sum(sizes.values()) + (sets - 1) * state) / 1e6, rel=0.03)


def test_a_training_that_is_not_saved_needs_no_room(disk, data_path):
    run = start("VBPR", data_path, **SETTINGS, checkpoint_dir=str(disk.folder))
    disk.fill()
    run.trainer().fit(run.train_data, run.valid_data, saved=False)


class Wide(ContentEncoder):
    """Rows of 200 kB."""

    def __init__(self):
        super().__init__({"encoder": "wide", "revision": "1", "preprocessing": {}})

    def forward(self, contents):
        return torch.ones(len(contents), 50_000)


@pytest.mark.parametrize(("left", "n_told"), [(600_000, 1), (4_000_000, 0)])
def test_an_extraction_says_with_its_first_rows_that_the_disk_will_be_full(disk, caplog, left, n_told):
    shop = disk.folder / "shop"
    disk.fill(left=left)
    with pytest.raises(OSError, match=FULL) if n_told else nullcontext():
        extract(shop, "wide", Texts(shop, ["title", "plot"]), Wide(), batch_size=1)
    lines = [record.getMessage() for record in caplog.records if "take up to" in record.getMessage()]
    assert len(lines) == n_told
    assert all(line.startswith(f"{shop} has 0.6 MB left, and the features of ") for line in lines)


def test_features_that_do_not_fit_are_told_before_the_first_byte(disk, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_mm.data.arrow_form.atomic_file", lambda _: pytest.fail("the writing has begun"))
    disk.fill(left=2 * BLOCK)
    path = disk.folder / "shop" / "shop.visual.arrow"
    message = rf"^{path} cannot be written \({FULL}\); free space .*: it takes 4\.0 MB, and 0\.0 MB are left$"
    with pytest.raises(OSError, match=message):
        write_arrow(path, [str(row) for row in range(1000)], np.ones((1000, 1000), np.float32))


def test_a_training_has_room_for_all_files_of_an_epoch_or_does_not_begin(disk, data_path, capsys):
    """Whatever is free, it ends in one line with the file's name or the folder's."""
    for left in range(3, 12):
        disk.fill(left=left * BLOCK)
        if run_main(arguments(data_path, checkpoint_dir=disk.folder)) == 2:
            line = capsys.readouterr().err.splitlines()[-1]
            named = rf"^error: {disk.folder}/VBPR-.* cannot be written \({FULL}\); free"
            assert re.search(f"{named}|checkpoint_dir: .* MB left", line) and ".tmp" not in line
        for file in (disk.folder / "filler", *disk.folder.glob("*VBPR-*")):
            file.unlink()


def test_a_training_whose_disk_fills_keeps_its_checkpoint(disk, data_path):
    run = start("VBPR", data_path, **{**SETTINGS, "epochs": 9, "stopping_step": 9}, checkpoint_dir=str(disk.folder))
    trainer = run.trainer()
    files = RunFiles.of(trainer.saved_model_file)

    def fill(epoch, _):
        if epoch == 0:
            disk.fill()

    with pytest.raises(OSError, match=rf"^{disk.folder}/VBPR-.* cannot be written \({FULL}\); free space") as caught:
        trainer.fit(run.train_data, run.valid_data, callback_fn=fill)
    assert "\n" not in str(caught.value)
    assert open_checkpoint(files.pickle).model
    assert not [name for name in names(disk.folder) if name.endswith(".tmp")]


# ---------------------------------------------------------------- a working folder that nothing can be written to


def test_a_read_only_working_folder_is_no_hindrance(disk, data_path, with_graphs, tmp_path, monkeypatch):
    disk.make_read_only()
    monkeypatch.chdir(disk.folder)
    out = tmp_path / "written"
    places = {key: out / key for key in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
    assert run_main(arguments(data_path, **places)) == 0
    (trained,) = (out / "checkpoint_dir").glob("*.pth")
    assert run_command_line(["recommend", str(trained), f"--out={out / 'top.parquet'}"]) == 0
    assert run_command_line(["recommend", str(with_graphs), f"--out={out / 'others.parquet'}"]) == 0
    assert run_command_line(["export", str(trained), f"--out={out / 'vectors'}"]) == 0
    assert run_command_line(["analyse", "feature-drift", str(trained), f"--out={out / 'figures'}"]) == 0


@pytest.mark.parametrize("key", ["log_dir", "tensorboard_dir", "graph_dir"])
def test_an_experiment_ends_before_its_first_run(disk, data_path, tmp_path, capsys, key):
    """Its store is elsewhere; each of its runs ended in a line of Python's."""
    disk.make_read_only()
    plan = tmp_path / "plan.yaml"
    settings = json.dumps({**SETTINGS, "data_path": str(data_path), key: str(disk.folder)})
    plan.write_text(f"data: [toy]\nmodels: [VBPR]\nsettings: {settings}\n")
    assert run_command_line(["experiment", str(plan), f"--out={tmp_path / 'store'}"]) == 2
    line = f"error: {key}: nothing can be written to {disk.folder} ({READ_ONLY}); set another folder\n"
    assert capsys.readouterr().err == line
    assert not (tmp_path / "store").exists()


def test_a_checkpoint_on_a_read_only_disk_opens(disk, with_graphs, tmp_path, monkeypatch):
    copies = RunFiles(disk.folder / "run.pth")
    for file, copy in zip(RunFiles.of(with_graphs).all, copies.all, strict=True):
        if file.exists():
            shutil.copy(file, copy)
    disk.make_read_only()
    monkeypatch.chdir(disk.folder)
    assert run_command_line(["recommend", "run.json", f"--out={tmp_path / 'top.parquet'}"]) == 0


def test_a_read_only_working_folder_is_named(disk, data_path, monkeypatch, capsys):
    disk.make_read_only()
    monkeypatch.chdir(disk.folder)
    assert run_main(arguments(data_path)) == 2
    line = f"error: checkpoint_dir: nothing can be written to saved ({READ_ONLY}); set another folder\n"
    assert capsys.readouterr().err == line


def test_data_in_a_read_only_folder_are_read(disk, tmp_path):
    write_planted(disk.folder / "data", {"visual": 6})
    disk.make_read_only()
    assert run_main(arguments(disk.folder / "data", checkpoint_dir="saved")) == 0
