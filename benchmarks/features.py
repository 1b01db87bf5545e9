"""Loading Baby's 7,050 x 4,096 features: ``python benchmarks/features.py``.

From the Arrow form through recbole_mm, and from text through RecBole's own recipe
(``additional_feat_suffix``, ``preload_weight``), each in an interpreter of its own: seconds, and peak of
memory above what it held before.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import sys
import time
from pathlib import Path
from statistics import median

import harness
from machine import memory, versions
from shapes import DATA

MODALITY = "visual"
RECBOLE_RECIPE = {
    "additional_feat_suffix": [MODALITY],
    "load_col": {"inter": ["user_id", "item_id"], MODALITY: [f"{MODALITY}_id", f"{MODALITY}_feature"]},
    "alias_of_item_id": [f"{MODALITY}_id"],
    "preload_weight": {f"{MODALITY}_id": f"{MODALITY}_feature"},
}
EXPLANATION = """\
{width[0]:,} items, width {width[1]:,}, file in the system's cache. Memory is the peak above what the
interpreter held before, the loaded matrix included ({matrix:.0f} MB as float32). The Arrow form is read and
aligned to a data set that is open; RecBole reads its text while it makes the data set, so its figures are
those with less those without."""


def prepare(folder: str, pickled: str, text_folder: str) -> dict:
    """Pickle the open data set, which leaves its features out, and write the text form once."""
    from recbole_mm.data.feature_file import read_features, write_text

    source, target = Path(folder), Path(text_folder)
    dataset = _open(source, "POWERec", modalities=[MODALITY])
    Path(pickled).write_bytes(pickle.dumps(dataset))
    text = target / f"{target.name}.{MODALITY}"
    if not text.is_file():
        target.mkdir(exist_ok=True)
        for split in ("train", "valid", "test"):
            shutil.copy(source / f"{source.name}.{split}.inter", target / f"{target.name}.{split}.inter")
        features = read_features(source, source.name, MODALITY)
        write_text(Path("ours"), MODALITY, features.ids, features.values)
        with Path("ours").open() as file, Path("recboles").open("w") as recboles:
            next(file)
            recboles.write(f"{MODALITY}_id:token\t{MODALITY}_feature:float_seq\n")
            shutil.copyfileobj(file, recboles)
        shutil.move("recboles", text)
    return {"arrow": (source / f"{source.name}.{MODALITY}.arrow").stat().st_size, "text": text.stat().st_size}


def load_arrow(pickled: str) -> dict:
    """Read and align the Arrow form for a data set that is open."""
    import recbole_mm  # noqa: F401

    dataset = pickle.loads(Path(pickled).read_bytes())
    return _measured(lambda: dataset.modality_feature(MODALITY))


def load_text(folder: str, with_features: bool) -> dict:
    """Make RecBole's own data set, with the features in text form or without."""
    import recbole_mm  # noqa: F401

    recipe = RECBOLE_RECIPE if with_features else {}

    def load():
        dataset = _open(Path(folder), "BPR", **recipe)
        return dataset.get_preload_weight(f"{MODALITY}_id") if with_features else dataset

    return _measured(load)


def _open(folder: Path, model: str, **settings):
    from recbole.config import Config
    from recbole.data import create_dataset

    import recbole_mm  # noqa: F401

    settings = {
        **harness.QUIET,
        **harness.data_settings(folder),
        "data_path": str(folder.parent),
        **settings,
    }
    return create_dataset(Config(model, folder.name, config_dict=settings))


def _measured(load) -> dict:
    before = memory().now
    started = time.perf_counter()
    loaded = load()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": memory().peak - before, "shape": list(getattr(loaded, "shape", ()))}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of the synthetic data (default: %(default)s)"
    )
    data = parser.parse_args().data.resolve()
    folder = harness.shaped_data("baby", 1, data)
    pickled, text_folder = data / "baby.pickle", data / "baby-text"
    sizes = harness.call_alone(prepare, folder=folder, pickled=str(pickled), text_folder=str(text_folder))
    arrow = [harness.call_alone(load_arrow, pickled=str(pickled)) for _ in range(5)]
    without = harness.call_alone(load_text, folder=str(text_folder), with_features=False)
    text = harness.call_alone(load_text, folder=str(text_folder), with_features=True)
    arrow = {key: median(kind[key] for kind in arrow) for key in ("seconds", "peak")} | {
        "shape": arrow[0]["shape"]
    }
    rows = [
        [
            "Arrow, recbole_mm",
            f"{sizes['arrow'] / 1e6:.0f}",
            f"{arrow['seconds']:.2f}",
            f"{arrow['peak']:.0f}",
        ],
        [
            "text, RecBole's recipe",
            f"{sizes['text'] / 1e6:.0f}",
            f"{text['seconds'] - without['seconds']:.2f}",
            f"{text['peak'] - without['peak']:.0f}",
        ],
    ]
    result = harness.table(["form", "file MB", "seconds", "peak MB"], rows)
    print(result)
    width = arrow["shape"]
    explanation = EXPLANATION.format(width=(width[0] - 1, width[1]), matrix=4 * width[0] * width[1] / 1e6)
    title = "# Loading visual features of Baby's shape"
    harness.write_results("features", title, harness.versions_line(versions()), explanation, result)


if __name__ == "__main__":
    sys.exit(main())
