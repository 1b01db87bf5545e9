"""Feature files and columns that are there are used or refused; no run goes on without one, unsaid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recbole.config import Config
from recbole.data import create_dataset

from recbole_mm.data.convert import convert_arrow, convert_npy
from recbole_mm.data.describe import describe
from recbole_mm.data.feature_file import find_modalities, read_features
from recbole_mm.data.file_form import FileForm
from recbole_mm.extraction.contents import Texts
from recbole_mm.testing.toy import QUIET, write_dataset

PAIRS = [(f"u{user}", f"i{(user + place) % 9}") for user in range(8) for place in range(5)]
ROWS = {f"i{item}": np.array([item, item % 3, 0.25]) for item in range(9)}
LINES = [f"{item}\t{' '.join(map(str, row))}" for item, row in ROWS.items()]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_dataset(tmp_path, {"": PAIRS}, {"visual": ROWS}) / "toy"


def load(folder: Path, **settings):
    columns = {"load_col": {"inter": ["user_id", "item_id"]}, "data_path": str(folder.parent)}
    return create_dataset(Config("VBPR", "toy", config_dict={**QUIET, **columns, **settings}))


def features(dataset, modality: str) -> dict[str, list[float]]:
    tokens = dataset.field2id_token["item_id"]
    return {tokens[item]: row.tolist() for item, row in enumerate(dataset.modality_feature(modality)) if item}


def test_a_loose_array_may_stay_once_a_modality_is_made_of_it(folder):
    values = np.stack(list(ROWS.values())).astype(np.float32) + 1
    np.save(folder / "features.npy", values)
    with pytest.raises(ValueError, match=r"features\.npy holds features that no run reads under this name; make a"):
        describe(folder)
    (folder / "ids.txt").write_text("\n".join(ROWS))
    convert_npy(folder / "features.npy", folder / "ids.txt", "vit", folder)
    assert [modality["name"] for modality in describe(folder)["modalities"]] == ["visual", "vit"]
    found = features(load(folder), "vit")
    assert all(found[item] == row.tolist() for item, row in zip(ROWS, values, strict=True))


def test_a_folder_of_arrays_may_stay_once_a_modality_is_made_of_it(folder):
    (folder / "images").mkdir()
    (folder / "images" / "i0.jpg").write_bytes(b"")  # for pictures there is extract
    layer = folder / "textual" / "torch" / "layer"
    layer.mkdir(parents=True)
    for item, row in ROWS.items():
        np.save(layer / f"{item}.npy", row)
    with pytest.raises(ValueError, match=r"textual holds arrays \(torch/layer/i\d\.npy\) that no run reads; .* ducho"):
        describe(folder)
    (folder / "toy.textual").write_text("item_id:token\ttextual_feature:float_seq\n" + "\n".join(LINES) + "\n")
    assert [modality["name"] for modality in describe(folder)["modalities"]] == ["visual", "textual"]


def test_a_modality_that_the_settings_of_the_data_set_leave_out_is_told(folder):
    (folder / "toy.textual").write_text("item_id:token\ttextual_feature:float_seq\n" + "\n".join(LINES) + "\n")
    assert not any("runs leave it out" in line for line in describe(folder)["warnings"])
    (folder / "toy.yaml").write_text("modalities: [visual]\n")
    said = "textual: runs leave it out, as it is not among modalities: [visual] in toy.yaml; add it there, or "
    assert f"{said}delete the key" in describe(folder)["warnings"]


HEADERS = {
    "no types": "item_id\ttextual_feature",
    "no header": LINES[0],
    "other id": "iid:token\ttextual_feature:float_seq",
    "itememb": "iid:token\titem_emb:float_seq",
    "blanks": "item_id:token textual_feature:float_seq",
    "commas": "item_id:token,textual_feature:float_seq",
    "words": "item_id:token\ttextual_feature:token_seq",
    "one number": "item_id:token\ttextual_feature:float",
    "no id type": "item_id\ttextual_feature:float_seq",
    "further column": "item_id:token\ttextual_feature:float_seq\tname:token",
    "two vectors": "item_id:token\ta:float_seq\tb:float_seq",
}


@pytest.mark.parametrize("suffix", ["textual", "itememb", "features"])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_another_first_line_is_refused(folder, header, suffix):
    (folder / f"toy.{suffix}").write_text("\n".join([header, *LINES]) + "\n")
    with pytest.raises(ValueError, match=rf"toy\.{suffix}, line 1: the header must be") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=rf"toy\.{suffix}, line 1: the header must be"):
        describe(folder)
    with pytest.raises(ValueError, match=rf"toy\.{suffix}, line 1: the header must be"):
        load(folder, modalities=["visual", suffix])
    assert load(folder, modalities=["visual"]).modalities == ["visual"]


def test_an_empty_file_of_a_usual_name_is_refused(folder):
    (folder / "toy.acoustic").write_text("")
    with pytest.raises(ValueError, match=r"toy\.acoustic is empty"):
        load(folder)


def test_an_array_that_is_no_features_is_named(folder, caplog):
    np.save(folder / "views.npy", np.ones((9, 3), int))
    said = "views.npy is not used: it has a row for each item, and its values are whole numbers"
    with caplog.at_level("WARNING"):
        load(folder)
    assert said in caplog.text
    assert [line for line in describe(folder)["warnings"] if line.startswith(said)]


def test_the_name_of_the_id_column_is_said_where_it_is_another(folder):
    (folder / "toy.itememb").write_text("\n".join(["iid:token\titem_emb:float_seq", *LINES]) + "\n")
    with pytest.raises(ValueError, match="if 'iid' is the column of item ids, set ITEM_ID_FIELD: iid"):
        load(folder)


@pytest.mark.parametrize("quoted", ["ids", "all"])
def test_marks_around_cells_are_no_part_of_them(folder, quoted):
    """As pandas writes them with ``quoting=csv.QUOTE_ALL``."""
    header = '"item_id:token"\t"textual_feature:float_seq"' if quoted == "all" else "item_id:token\tv:float_seq"
    rows = [line.split("\t") for line in LINES]
    lines = {
        "ids": [f'"{item}"\t{vector}' for item, vector in rows],
        "all": [f'"{item}"\t"{vector}"' for item, vector in rows],
    }[quoted]
    (folder / "toy.textual").write_text("\n".join([header, *lines]) + "\n")
    dataset = load(folder)
    assert dataset.modalities == ["visual", "textual"]
    assert features(dataset, "textual") == {item: row.tolist() for item, row in ROWS.items()}
    assert dataset.modality_mask("textual")[1:].all()


def test_an_id_with_marks_is_the_same_id_in_every_file(tmp_path):
    names = ['5" disc', 'the "best"', '"a"', "b", "c"]
    doubled = {name: '"' + name.replace('"', '""') + '"' if '"' in name else name for name in names}
    for form in ("raw", "doubled"):
        write = doubled.get if form == "doubled" else str
        pairs = [(f"u{user}", write(names[(user + place) % 5])) for user in range(6) for place in range(3)]
        place = write_dataset(tmp_path / form, {"": pairs}, {}) / "toy"
        rows = [f"{write(name)}\t{number} 1" for number, name in enumerate(names)]
        (place / "toy.visual").write_text("item_id:token\tv:float_seq\n" + "\n".join(rows) + "\n")
        assert features(load(place), "visual") == {name: [number, 1] for number, name in enumerate(names)}


class TestColumns:
    """Of the `.item` file."""

    def test_a_column_of_vectors_is_a_modality(self, folder):
        rows = [f"{line.split()[0]}\ttitle {k}\t{k} 2 3\t{k}" for k, line in enumerate(LINES) if k != 4]
        header = "item_id:token\ttitle:token_seq\tposter:float_seq\tyear:float"
        (folder / "toy.item").write_text("\n".join([header, *rows, "i4\tno poster\t\t4"]) + "\n")
        dataset = load(folder)
        assert dataset.modalities == ["visual", "poster"]
        found = features(dataset, "poster")
        assert {item: row for item, row in found.items() if item != "i4"} == {
            f"i{k}": [k, 2, 3] for k in range(9) if k != 4
        }
        absent = np.flatnonzero(~dataset.modality_mask("poster").numpy())[1:]
        assert list(dataset.id2token("item_id", absent)) == ["i4"]
        assert [modality["name"] for modality in describe(folder)["modalities"]] == ["visual", "poster"]
        assert load(folder, modalities=["poster"]).modalities == ["poster"]

    @pytest.mark.parametrize(
        "cell, message",
        [("1", "1 value where line 2 has 3"), ("1 x 2", "value 2 is 'x', which is no number"),
         ("1 nan 2", "not finite as float32")],
    )  # fmt: skip
    def test_a_bad_cell_is_named(self, folder, cell, message):
        rows = [f"i{k}\t{cell if k == 5 else '1 2 3'}" for k in range(9)]
        (folder / "toy.item").write_text("\n".join(["item_id:token\tposter:float_seq", *rows]) + "\n")
        with pytest.raises(ValueError, match=rf"toy\.item, line 7: .*{message}"):
            load(folder)

    def test_a_column_beside_a_file_of_its_name_is_refused(self, folder):
        (folder / "toy.item").write_text("\n".join(["item_id:token\tvisual:float_seq", *LINES]) + "\n")
        with pytest.raises(ValueError, match=r"toy\.item has a column visual, and toy\.visual is a file"):
            load(folder)

    def test_an_empty_column_is_refused(self, folder):
        rows = [f"i{k}\t" for k in range(9)]
        (folder / "toy.item").write_text("\n".join(["item_id:token\tposter:float_seq", *rows]) + "\n")
        with pytest.raises(ValueError, match=r"toy\.item: the column poster is empty"):
            load(folder)


class TestForm:
    """Of files with other names and separators, which `NAME.yaml` gives."""

    @pytest.fixture
    def own(self, tmp_path) -> Path:
        place = tmp_path / "own"
        place.mkdir()
        pairs = [f"{user},{item},{place}" for place, (user, item) in enumerate(PAIRS)]
        (place / "own.inter").write_text("\n".join(["uid:token,asin:token,timestamp:float", *pairs]) + "\n")
        vectors = [line.replace("\t", ",").replace(" ", "|") for line in LINES]
        (place / "own.visual").write_text("\n".join(["asin:token,v:float_seq", *vectors]) + "\n")
        titles = [f"i{k},Käse {k % 2} und Wein,{k}|1" for k in range(9)]
        (place / "own.item").write_text(
            "\n".join(["asin:token,title:token,taste:float_seq", *titles]) + "\n", encoding="latin-1"
        )
        return place

    SETTINGS = "USER_ID_FIELD: uid\nITEM_ID_FIELD: asin\nfield_separator: ','\nseq_separator: '|'\nencoding: latin-1\n"

    def test_every_command_reads_it(self, own):
        (own / "own.yaml").write_text(self.SETTINGS)
        described = describe(own)
        assert (described["users"], described["items"], described["interactions"]) == (8, 9, 40)
        assert [(row["name"], row["present"]) for row in described["modalities"]] == [("visual", 9), ("taste", 9)]
        assert Texts(own, ["title"]).read("i3") == ["Käse 1 und Wein"]
        text = read_features(own, "own", "visual", form=FileForm.of_folder(own))
        binary = convert_arrow(own, "visual")
        np.testing.assert_array_equal(read_features(own, "own", "visual").values, text.values)
        assert binary.is_file() and find_modalities(own, "own", FileForm.of_folder(own)) == ["visual", "taste"]

    def test_without_it_the_file_to_set_the_names_in_is_named(self, own):
        (own / "own.yaml").write_text(self.SETTINGS.replace("USER_ID_FIELD: uid\nITEM_ID_FIELD: asin\n", ""))
        for action in (lambda: describe(own), lambda: Texts(own, ["title"])):
            remedy = r"own\.inter, line 1: .*set USER_ID_FIELD and ITEM_ID_FIELD in .*own\.yaml"
            with pytest.raises(ValueError, match=remedy):
                action()
        with pytest.raises(ValueError, match=r"own\.visual, line 1: .*set ITEM_ID_FIELD: asin"):
            convert_arrow(own, "visual")
