"""The command `extract`: modality features from pictures, texts, sounds, videos."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recbole_mm.data.convert import check_free_modality
from recbole_mm.extraction.contents import Contents, FileContents, Pictures, Texts
from recbole_mm.extraction.extract import Extraction, extract
from recbole_mm.extraction.pixel_cache import MAPPED
from recbole_mm.extraction.prepared_pictures import prepared
from recbole_mm.extraction.sounds import SHORTEST, Sounds
from recbole_mm.extraction.tfidf import TFIDF, extract_tfidf
from recbole_mm.extraction.videos import Videos
from recbole_mm.io.counting import counted
from recbole_mm.io.files import check_writable, temporary_folder

if TYPE_CHECKING:
    from recbole_mm.encoder.content_encoder import ContentEncoder

DTYPES = ("float32", "bfloat16", "float16")
PICTURES_FOLDER = Path("saved") / "pictures"  # beside the graphs of runs
SHOWN_MISSING = 5
_BOUNDS = {"workers": (0, 256), "picture_memory": (1, 1 << 30), "frames": (1, 10_000), "seconds": (SHORTEST, 3600.0)}


class Usual(NamedTuple):
    """What one kind of contents is called and read by, where nothing else is asked for."""

    modality: str
    encoder: str | None


USUAL = {
    "images": Usual("visual", "histograms"),
    "fields": Usual("textual", TFIDF),
    "audio": Usual("acoustic", None),
    "videos": Usual("video", None),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `extract`, which sets `run`, a function from the parsed arguments to an exit code."""
    parser = subparsers.add_parser("extract", help="make features from pictures, texts, sounds or videos")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="folder of the data set")
    content = parser.add_argument_group("contents; --images and --fields may be given at once")
    content.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures named by item id")
    content.add_argument("--fields", help="fields of the .item file, such as title,genres,plot")
    content.add_argument("--audio", type=Path, metavar="DIR", help="folder of sounds named by item id")
    content.add_argument("--videos", type=Path, metavar="DIR", help="folder of videos, for an encoder of pictures")
    usual = ", ".join(f"{default.modality} for --{option}" for option, default in USUAL.items())
    parser.add_argument("--modality", help=f"name of the modality (default: {usual})")
    weightless = " and ".join(
        f"{default.encoder} for --{option}" for option, default in USUAL.items() if default.encoder
    )
    parser.add_argument(
        "--encoder",
        help=f"folder, hub name or registered name of an encoder (default: {weightless}, which have no weights)",
    )
    parser.add_argument("--files", metavar="FIELD", help="field of the .item file that names items' files")
    parser.add_argument("--frames", type=int, default=8, help="of a video (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="of a sound heard at once (default: the encoder's)")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"), help="of a text model's tokens (default: mean)")
    parser.add_argument("--prefix", help="text before every text, such as 'query: '")
    parser.add_argument("--dtype", choices=DTYPES, help="of a text model's weights (default: float32)")
    parser.add_argument("--batch-size", type=int, default=32, help="items encoded at once")
    parser.add_argument("--float16", action="store_true", help="store half precision")
    parser.add_argument("--width", type=int, default=384, help=f"width of {TFIDF}'s features")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the GPU where there is one)")
    parser.add_argument("--ray_address", help="encode on this Ray cluster, host:port, auto or local")
    _add_picture_options(parser)
    parser.set_defaults(run=_run)


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, help="processes that prepare pictures (default: one for each processor)")
    parser.add_argument(
        "--picture-cache", type=Path, default=PICTURES_FOLDER, metavar="DIR",
        help="where resized pictures are kept for further runs, 150 kB each at 224 x 224 (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--picture-memory", type=int, default=MAPPED >> 20, metavar="MB",
        help="most of the kept pictures that are in memory at a time (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-picture-cache", action="store_true", help="keep none of them")


def _run(args: argparse.Namespace) -> int:
    modalities = _modalities(args)
    for modality in modalities:  # before an encoder loads
        check_writable(check_free_modality(modality.modality, modality.dataset))
        _check(modality)
        if modality.fields is not None and len(modalities) > 1:
            _texts(modality)  # nor are pictures encoded before a misspelt field is told
    for modality in modalities:
        if modality.fields is not None and modality.encoder == TFIDF:
            options = {"width": modality.width, "half": modality.float16}
            result = extract_tfidf(modality.dataset, modality.modality, _texts(modality), **options)
        else:
            result = _extract(modality)
        _report(result)
    print(f"Next: recbole-mm describe {args.dataset}")
    return 0


def _modalities(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The options of each modality, with its usual name and encoder where they are not given."""
    given = [option for option in USUAL if getattr(args, option) is not None]
    if not given:
        raise ValueError("extract: there is nothing to encode; give --images, --fields, --audio or --videos")
    for option in ("modality", "encoder", "files"):
        if len(given) > 1 and getattr(args, option) is not None:
            kinds = " and ".join(f"--{kind}" for kind in given)
            raise ValueError(f"--{option}: {kinds} are two modalities; leave it out, or extract one by one")
    modalities = []
    for option in given:
        usual = USUAL[option]
        encoder = args.encoder or usual.encoder
        if encoder is None:
            raise ValueError(f"--encoder: --{option} has none without weights; name a folder or a model on the hub")
        own: dict[str, str | None] = {other: None for other in given if other != option}
        own |= {"modality": args.modality or usual.modality, "encoder": encoder}
        modalities.append(argparse.Namespace(**(vars(args) | own)))
    return modalities


def _check(args: argparse.Namespace) -> None:
    if args.encoder == TFIDF and args.fields is None:
        raise ValueError(f"--encoder: {TFIDF} reads texts; give --fields, or an encoder of pictures such as histograms")
    if args.encoder == TFIDF and args.ray_address is not None:
        raise ValueError(f"--ray_address: {TFIDF} needs all texts at once, on this machine; leave out --ray_address")
    for name, (least, most) in _BOUNDS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:  # not a number is below all
            raise ValueError(f"--{name.replace('_', '-')}: {value} must be from {least} to {most}")


def _texts(args: argparse.Namespace) -> Texts:
    return Texts(args.dataset, [field.strip() for field in args.fields.split(",")])


def _contents(args: argparse.Namespace) -> tuple[str, Callable[[Any], Contents]]:
    """What the encoder is to read, and how its contents are found, given the encoder."""
    dataset, column = args.dataset, args.files
    if args.fields is not None:
        texts = _texts(args)  # before the encoder loads, as are files of the others
        return "texts", lambda _: texts
    if args.audio is not None:
        return "sounds", lambda encoder: Sounds(
            dataset, args.audio, encoder.rate, args.seconds or encoder.seconds, column
        )
    if args.videos is not None:
        videos = Videos(dataset, args.videos, args.frames, column)
        return "pictures", lambda _: videos
    pictures = Pictures(dataset, args.images, column)
    return "pictures", lambda _: pictures


def _extract(args: argparse.Namespace) -> Extraction:
    from recbole_mm.encoder.auto import EncoderLoader
    from recbole_mm.encoder.pretrained import usable_device

    reads, find = _contents(args)
    given = tuple((name, getattr(args, name)) for name in ("pooling", "prefix", "dtype") if getattr(args, name))
    load = EncoderLoader(reads, tuple(args.plugins), given)
    options = {"batch_size": args.batch_size, "half": args.float16}
    if args.ray_address is None:
        encoder = load(args.encoder, usable_device(args.device))
        found = find(encoder)
        _tell_others(found)
        with _ahead(args, found, encoder) as contents:
            return extract(args.dataset, args.modality, contents, encoder, **options)
    from recbole_mm.extraction.ray_job import RayEncoding
    from recbole_mm.ray_session import ray_session

    with ray_session(args.ray_address):
        encoding = RayEncoding(load, args.encoder, args.device)
        # the encoder is loaded here too, for what the metadata say of it, and to fail before the job starts
        encoder = load(args.encoder, "cpu")
        found = find(encoder)
        _tell_others(found)
        return extract(args.dataset, args.modality, found, encoder, encode=encoding, **options)


@contextmanager
def _ahead(args: argparse.Namespace, contents: Contents, encoder: ContentEncoder) -> Iterator[Contents]:
    """Contents that are prepared apart from the encoder, where it and they allow for that."""
    if not isinstance(contents, Pictures) or encoder.preparation is None:
        yield contents
        return
    keep: AbstractContextManager[Path] = nullcontext(args.picture_cache)
    if args.no_picture_cache:
        keep = temporary_folder(args.dataset / f"{args.modality}.pictures")
    with keep as folder:
        yield prepared(contents, encoder.preparation, folder, args.workers, args.picture_memory << 20)


def _tell_others(contents: Contents) -> None:
    """Say how many files of the folder are not read."""
    if isinstance(contents, FileContents) and contents.others:
        n_others, first = len(contents.others), contents.others[0]
        print(f"{counted(n_others, 'file')} of {contents.source} not read for any item, such as {first}")


def _report(result: Extraction) -> None:
    print(f"Wrote {result.path}: {counted(result.n_rows, 'item')} ({result.path.stat().st_size / 1e6:.1f} MB)")
    of_them = {
        "no interactions, as the .item file alone names them": result.n_without_interactions,
        "been finished by an earlier run that was interrupted": result.n_reused,
    }
    for what, count in of_them.items():
        if count:
            print(f"{counted(count, 'of them has', 'of them have')} {what}")
    if result.truncated:
        print(f"{counted(result.truncated, 'text was', 'texts were')} longer than the encoder's context and cut there")
    if result.missing:
        without = counted(len(result.missing), "item has", "items have")
        print(f"{without} no features, see {result.missing_file}; the first:")
        for item, reason in list(result.missing.items())[:SHOWN_MISSING]:
            print(f"    {item}: {reason}")
    if result.partly:
        partly = counted(len(result.partly), "item lacks some of its", "items lack some of their")
        print(f"{partly} files, see {result.missing_file}")
