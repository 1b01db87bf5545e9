"""Where data sets lie: folders of the working folder, or the user's ``data_path``."""

from __future__ import annotations

from pathlib import Path

from recbole.config import Config

from recbole_mm.data.default_data import DEFAULT_DATASET, build_default_data
from recbole_mm.data.folder_checks import SHIPPED, check_data, check_dataset_name
from recbole_mm.host.config import user_settings
from recbole_mm.io.names import closest
from recbole_mm.io.reading import check_files, has_file
from recbole_mm.registration import recboles_downloads

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


def data_folder(config: Config) -> str:
    """The folder that holds a run's data set, the user's `data_path` or where it is found.

    Raises ValueError where there is no such data set, naming the closest one there is.
    """
    folder, dataset = given_folder(config), config["dataset"]
    if folder is None:
        return find_data(dataset)
    check_data(dataset, Path(folder))
    return folder


def find_data(dataset: str) -> str:
    """Folder that holds `dataset`; builds the default data set on first use.

    Raises ValueError where there is no such data set, listing those there are.
    """
    if dataset == DEFAULT_DATASET and not (Path("dataset") / dataset).is_dir():
        build_default_data(Path(DATA_PATHS[0]))
    check_dataset_name(dataset)
    folders = [Path(path) for path in DATA_PATHS if Path(path).is_dir()]
    for folder in folders:
        if (folder / dataset).is_dir():
            return str(folder)
    found = (child.name for folder in folders for child in folder.iterdir() if child.is_dir())
    there = {DEFAULT_DATASET, SHIPPED, *found}
    downloads = recboles_downloads()
    if dataset not in there | downloads:
        raise ValueError(
            f"unknown data set '{dataset}'{closest(dataset, there | downloads)}. In {' and '.join(DATA_PATHS)}: "
            f"{', '.join(sorted(there))}. Set data_path for another folder; RecBole can download {len(downloads)} more"
        )
    return "dataset"
