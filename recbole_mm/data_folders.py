"""Where data sets lie: folders of the working folder, or the user's ``data_path``."""

from __future__ import annotations

from pathlib import Path

import yaml
from recbole.config import Config

from recbole_mm.data.default_data import DEFAULT_DATASET, build_default_data
from recbole_mm.host.config import user_settings
from recbole_mm.io.names import closest
from recbole_mm.io.reading import check_files, has_file
from recbole_mm.registration import recbole_properties_dir

DATA_PATHS = ("dataset_atomic", "dataset")


def settings_file(dataset: str, data_path: str | Path) -> Path | None:
    """The settings that lie in a data set's folder, ``NAME/NAME.yaml``, as `convert` writes them; None without any."""
    check_files(Path(data_path) / dataset, f"{dataset}.")  # RecBole passes over what is no file
    file = Path(data_path) / dataset / f"{dataset}.yaml"
    return file if has_file(file) else None


def given_folder(config: Config) -> str | None:
    """The `data_path` that a user set, as text, since a folder may be called 2024; None where none is set."""
    given = user_settings(config).get("data_path")
    return None if given is None else str(Path(config["data_path"]).parent)  # RecBole adds the data set's name


def find_data(dataset: str) -> str:
    """Folder that holds `dataset`; builds the default data set on first use.

    Raises ValueError where there is no such data set, listing those there are.
    """
    if dataset == DEFAULT_DATASET and not (Path("dataset") / dataset).is_dir():
        build_default_data(Path(DATA_PATHS[0]))
    _check_dataset_name(dataset)
    folders = [Path(path) for path in DATA_PATHS if Path(path).is_dir()]
    for folder in folders:
        if (folder / dataset).is_dir():
            return str(folder)
    found = (child.name for folder in folders for child in folder.iterdir() if child.is_dir())
    there = {DEFAULT_DATASET, "ml-100k", *found}
    urls = yaml.safe_load((recbole_properties_dir() / "dataset" / "url.yaml").read_text(encoding="utf-8"))
    if dataset not in there | set(urls):
        raise ValueError(
            f"unknown data set '{dataset}'{closest(dataset, there | set(urls))}. In {' and '.join(DATA_PATHS)}: "
            f"{', '.join(sorted(there))}. Set data_path for another folder; RecBole can download {len(urls)} more"
        )
    return "dataset"


def check_data(dataset: str, folder: Path) -> None:
    """Raise ValueError where a folder of the user's does not hold a data set, naming the closest one there is."""
    _check_dataset_name(dataset)
    if (folder / dataset).is_dir() or dataset == "ml-100k":  # which RecBole ships
        return
    there = sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else None
    if there is None:
        raise ValueError(f"data_path: there is no folder {folder}; it is the folder that holds {dataset}/")
    raise ValueError(
        f"data_path: {folder} holds no data set '{dataset}'{closest(dataset, there)}; there are "
        f"{', '.join(there) or 'none'}"
    )


def _check_dataset_name(dataset: str) -> None:
    if not dataset:
        raise ValueError("--dataset: '' is no name; give that of the folder with the data set's files")
    if Path(dataset).name != dataset or dataset in (".", ".."):
        raise ValueError(
            f"--dataset: '{dataset}' is a path; give the name of the folder alone, {Path(dataset).name or 'NAME'}, "
            "and the folder that holds it as data_path"
        )
