"""The tables of this folder, through loaders and commands; and the page that says the same."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

from recbole_mm.__main__ import main
from recbole_mm.data import from_frames
from recbole_mm.data.describe import describe
from recbole_mm.data.feature_file import read_arrow
from recbole_mm.io.pictures import PictureError, open_picture
from recbole_mm.io.sounds import SoundError, open_sound
from recbole_mm.io.tables import read_table
from recbole_mm.recommend.ranking import read_users
from tests.data.field.arrays import ARRAYS, LISTS, USERS, Array, Listed
from tests.data.field.cases import Case, inter, write
from tests.data.field.downloads import DOWNLOADS
from tests.data.field.frames import FRAMES, Frame
from tests.data.field.media import PICTURES, SIZE, SOUNDS, Media, file_of
from tests.data.field.page import KINDS, PAGE, rendered
from tests.data.field.tables import TABLES, Table

RATE = 16_000
LOADED = [(kind, case) for kind, (_, cases, how) in KINDS.items() if how == "loaded" for case in cases]
RUN = [(kind, case) for kind, (_, cases, how) in KINDS.items() if how == "run" for case in cases]


def named(pairs):
    return [pytest.param(case, id=f"{kind}: {case.what}") for kind, case in pairs]


def load(case: Case, folder):
    quiet = {"data_path": str(folder.parent), "gpu_id": "", "state": "ERROR", "topk": [5], "metrics": ["Recall"],
             "valid_metric": "Recall@5"}  # fmt: skip
    own = folder / "shop.yaml"
    of_folder = yaml.safe_load(own.read_text()) if own.is_file() else {}
    config = Config(case.model, "shop", config_dict={**quiet, **of_folder, **case.settings})
    dataset = create_dataset(config)
    _, _, test = data_preparation(config, dataset)
    return dataset, test


@pytest.mark.parametrize("case", named(LOADED))
def test_an_input_is_read_or_refused(case, tmp_path):
    folder = write(case, tmp_path)
    if case.expect is not None:
        dataset, test = load(case, folder)
        case.expect(dataset, test)
        found = describe(folder)
        assert (found["users"], found["items"]) == (dataset.user_num - 1, dataset.item_num - 1)
        assert found["interactions"] == dataset.inter_num
        return
    with pytest.raises(ValueError) as caught:
        load(case, folder)
    _is_said(case, str(caught.value))
    if case.described:
        with pytest.raises(ValueError) as caught:
            describe(folder)
        _is_said(case, str(caught.value))


def _is_said(case: Case, message: str) -> None:
    assert message.endswith(case.outcome) and "\n" not in message, message


@pytest.mark.parametrize("case", named(RUN))
def test_a_run_ends_well_or_in_one_line(case, tmp_path, capsys):
    folder = write(case, tmp_path)
    small = {"epochs": 1, "embedding_size": 4, "gpu_id": "", "metrics": ["Recall"], "topk": [5],
             "valid_metric": "Recall@5", "data_path": str(tmp_path), "show_progress": False}  # fmt: skip
    settings = {**small, **case.settings}
    words = [f"--{key}={'' if value is None else value}" for key, value in settings.items() if key != "load_col"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"load_col": settings["load_col"]}))
    code = main(["run", f"--model={case.model}", "--dataset=shop", f"--config_files={tmp_path / 'own.yaml'}", *words])
    shown = capsys.readouterr()
    if case.expect is None:
        assert code == 2
        _is_said(case, shown.err.strip().splitlines()[-1])
        return
    assert code == 0 and "test result: {" in shown.out
    case.expect(*load(case, folder))


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: array.what)
def test_an_array_is_converted_or_refused(array: Array, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"u{n}\ti{n}\n" for n in range(4)))
    (tmp_path / array.name).write_bytes(array.content)
    (tmp_path / "ids.txt").write_text(array.ids)
    code = main(f"convert npy {array.name} --ids ids.txt --modality visual --dataset shop".split())
    if array.expected is None:
        assert code == 2
        error = capsys.readouterr().err
        assert error == f"error: {array.outcome}\n"
        assert not (folder / "shop.visual.arrow").exists()
        return
    assert code == 0
    table = read_arrow(folder / "shop.visual.arrow")
    assert table.ids == array.ids.split()
    assert table.values.dtype == array.expected.dtype and table.values.tobytes() == array.expected.tobytes()


@pytest.mark.parametrize("table", [*TABLES, *DOWNLOADS], ids=lambda table: table.what)
def test_a_table_becomes_a_data_set_or_is_refused(table: Table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = table.name if table.folder is None else f"raw/{table.file}".rstrip("/")
    for name, content in {table.name: table.content}.items() if table.folder is None else table.folder.items():
        file = tmp_path / name if table.folder is None else tmp_path / "raw" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    words = ["convert", table.layout, source, "--name", "shop", "--out", "data", *table.words]
    if table.items is not None:
        (tmp_path / table.items_name).write_bytes(table.items)
        words += ["--items", table.items_name]
    code = main(words)
    shown, folder = capsys.readouterr(), tmp_path / "data" / "shop"
    if table.expected is None:
        assert (code, shown.err) == (2, f"error: {table.outcome}\n") and not folder.exists()
        return
    assert code == 0 and table.said in shown.out
    _is_written(folder, table.expected)


def _is_written(folder, wanted):
    found = {path.name.split(".")[1]: path for path in folder.iterdir()}
    assert found.pop("yaml") and found.keys() == wanted.keys()
    for suffix, expected in wanted.items():
        if suffix in ("inter", "item"):
            rows = read_table(found[suffix])
            assert [list(rows.columns), *rows.to_numpy().tolist()] == expected
        else:
            features = read_arrow(found[suffix])
            rows = np.array(list(expected.values()), np.float32)
            assert features.ids == list(expected) and features.values.tobytes() == rows.tobytes()


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.what)
def test_frames_become_a_data_set_or_are_refused(frame: Frame, tmp_path):
    if "polars" in frame.what:
        pytest.importorskip("polars")
    if frame.expected is None:
        with pytest.raises(ValueError) as caught:
            from_frames(*frame.given(), name="shop", out=tmp_path)
        assert str(caught.value) == frame.outcome and not list(tmp_path.iterdir())
        return
    from_frames(*frame.given(), name="shop", out=tmp_path)
    _is_written(tmp_path / "shop", frame.expected)


@pytest.mark.parametrize("media", PICTURES, ids=lambda media: media.what)
def test_a_picture_is_seen_or_refused(media: Media, tmp_path):
    file = file_of(media, tmp_path)
    if media.expected is None:
        with pytest.raises(PictureError) as caught:
            open_picture(file)
        assert str(caught.value) == f"{file} {media.outcome}"
        return
    picture = open_picture(file)
    assert picture.mode == "RGB" and picture.size == SIZE
    found = [picture.getpixel(place) for place in ((5, 5), (55, 35))]
    np.testing.assert_allclose(found, media.expected, atol=4)  # of compression


@pytest.mark.parametrize("media", SOUNDS, ids=lambda media: media.what)
def test_a_sound_is_heard_or_refused(media: Media, tmp_path):
    pytest.importorskip("soundfile")
    pytest.importorskip("soxr")
    file = file_of(media, tmp_path)
    if media.expected is None:
        with pytest.raises(SoundError) as caught:
            open_sound(file, RATE)
        assert str(caught.value) == f"{file} {media.outcome}"
        return
    samples, (seconds, pitch) = open_sound(file, RATE), media.expected
    assert samples.dtype == np.float32 and abs(len(samples) / RATE - seconds) < 0.1
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * RATE / len(middle) == pytest.approx(pitch, abs=4)
    assert np.abs(middle).max() == pytest.approx(0.5 if pitch else 0, abs=0.03)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    case = Case("", "", {"inter": inter(user=USERS.__getitem__).replace("x\ty", '"x\ty"')}, model="BPR")
    return load(case, write(case, tmp_path_factory.mktemp("known")))[0]


@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: listed.what)
def test_a_list_of_users_is_read_or_refused(listed: Listed, known, tmp_path):
    file = tmp_path / "users.txt"
    file.write_bytes(listed.content)
    if listed.expected is not None:
        found = read_users(file, known)
        assert list(known.id2token("user_id", found)) == listed.expected
        return
    with pytest.raises(ValueError) as caught:
        read_users(file, known)
    assert str(caught.value).endswith(listed.outcome) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_of_each_kind_there_are_more_than_five(kind):
    _, cases, _ = KINDS[kind]
    assert len(cases) > 5 and len({case.what for case in cases}) == len(cases)


def test_the_page_is_what_the_tables_say():
    assert PAGE.read_text(encoding="utf-8") == rendered()
