"""The digests of what the runs of a store were made from, by which other data are noticed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from recbole_mm.data.file_digests import file_digests, first_suffix, unused_modalities
from recbole_mm.data.file_form import FileForm
from recbole_mm.experiment.record import DATA_FILES
from recbole_mm.experiment.store_files import read_as, write_json
from recbole_mm.io.reading import has_file


def read_digests(file: Path) -> dict[str, dict[str, str]]:
    """Digests by data set and file; none where the file is absent. Raises as `read_as`."""
    return read_as(file, DATA_FILES) if has_file(file) else {}


def join_digests(sources: Iterable[Path], target: Path) -> None:
    """Write what stores keep of their data sets' files as one; raises ValueError where two of them differ."""
    joined: dict[str, dict[str, str]] = {}
    for source in sources:
        for dataset, digests in read_digests(source).items():
            before = joined.setdefault(dataset, {})
            for name, digest in digests.items():
                if before.setdefault(name, digest) != digest:
                    raise ValueError(f"{source}: {name} of {dataset} is another than in a store before; join one")
    write_json(target, joined, indent=2)


def changed_files(
    folder: Path,
    dataset: str,
    kept: dict[str, dict[str, str]],
    modalities: Iterable[str] | None = None,
    contents: Mapping[str, str] | None = None,
) -> list[str]:
    """Names of a data set's files that are others than those kept, new or gone, and of contents that are others.

    Args:
        folder: of the data set.
        dataset: its name, which its files begin with.
        kept: digests by data set and file; those of a data set that is not in it are added.
        modalities: whose features count; all if not given.
        contents: digests of what the runs read beside the data set, by what it is.
    """
    unused = unused_modalities(folder, dataset, modalities, FileForm.of_folder(folder))
    current = file_digests(folder, dataset, unused)
    before = kept.setdefault(dataset, current)
    read = set() if modalities is None else set(modalities)
    for name in current.keys() - before.keys():
        if first_suffix(name, dataset) in read:  # a modality that no run before has read
            before[name] = current[name]
    files = {name for name in before.keys() | current.keys() if name.startswith(f"{dataset}.")}
    names = {name for name in files if first_suffix(name, dataset) not in unused}
    changed = sorted(name for name in names if before.get(name) != current.get(name))
    return changed + [name for name, value in (contents or {}).items() if before.setdefault(name, value) != value]
