"""The command `extract`: modality features from pictures or texts."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_mm.data.convert import check_free_modality
from recbole_mm.extraction.contents import Contents, Pictures, Texts
from recbole_mm.extraction.extract import Extraction, extract
from recbole_mm.extraction.tfidf import TFIDF, extract_tfidf
from recbole_mm.io.files import check_writable

SHOWN_MISSING = 5


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `extract`, which sets `run`, a function from the parsed arguments to an exit code."""
    parser = subparsers.add_parser("extract", help="make a modality's features from pictures or texts")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--modality", required=True, help="name of the modality, such as visual")
    content = parser.add_mutually_exclusive_group(required=True)
    content.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures named by item id")
    content.add_argument("--fields", help="fields of the .item file, such as title,genres,plot")
    parser.add_argument(
        "--encoder",
        required=True,
        help=f"folder, hub name or registered name of an encoder; {TFIDF} (texts), histograms (pictures): no weights",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="items encoded at once")
    parser.add_argument("--float16", action="store_true", help="store half precision")
    parser.add_argument("--width", type=int, default=384, help=f"width of {TFIDF}'s features")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the GPU where there is one)")
    parser.add_argument("--ray_address", help="encode on this Ray cluster, host:port, auto or local")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    check_writable(check_free_modality(args.modality, args.dataset))  # before the encoder loads
    if args.images is not None:
        result = _extract_pictures(args)
    else:
        result = _extract_texts(args)
    _report(result, args.dataset)
    return 0


def _extract_pictures(args: argparse.Namespace) -> Extraction:
    if args.encoder == TFIDF:
        raise ValueError(f"--encoder: {TFIDF} reads texts; give --fields, or an encoder of pictures such as histograms")
    return _extract(args, Pictures(args.dataset, args.images), "pictures")


def _extract_texts(args: argparse.Namespace) -> Extraction:
    if args.encoder == TFIDF and args.ray_address is not None:
        raise ValueError(f"--ray_address: {TFIDF} needs all texts at once, on this machine; leave out --ray_address")
    texts = Texts(args.dataset, [field.strip() for field in args.fields.split(",")])
    if args.encoder == TFIDF:
        return extract_tfidf(args.dataset, args.modality, texts, width=args.width, half=args.float16)
    return _extract(args, texts, "texts")


def _extract(args: argparse.Namespace, contents: Contents, reads: str) -> Extraction:
    from recbole_mm.encoder.auto import EncoderLoader
    from recbole_mm.encoder.pretrained import usable_device

    load = EncoderLoader(reads, tuple(args.plugins))
    options = {"batch_size": args.batch_size, "half": args.float16}
    if args.ray_address is None:
        encoder = load(args.encoder, usable_device(args.device))
        return extract(args.dataset, args.modality, contents, encoder, **options)
    from recbole_mm.extraction.ray_job import RayEncoding
    from recbole_mm.ray_session import ray_session

    with ray_session(args.ray_address):
        encoding = RayEncoding(load, args.encoder, args.device)
        # the encoder is loaded here too, for what the metadata say of it, and to fail before the job starts
        return extract(args.dataset, args.modality, contents, load(args.encoder, "cpu"), encode=encoding, **options)


def _report(result: Extraction, dataset_dir: Path) -> None:
    print(f"Wrote {result.path}: {result.n_rows} items ({result.path.stat().st_size / 1e6:.1f} MB)")
    if result.n_without_interactions:
        print(f"{result.n_without_interactions} of them have no interactions: the .item file alone has them")
    if result.n_reused:
        print(f"{result.n_reused} of them were finished by an earlier run that was interrupted")
    if result.truncated:
        print(f"{result.truncated} texts were longer than the encoder's context and cut there")
    if result.missing:
        print(f"{len(result.missing)} items have no features, see {result.missing_file}; the first:")
        for item, reason in list(result.missing.items())[:SHOWN_MISSING]:
            print(f"    {item}: {reason}")
    print(f"Next: python -m recbole_mm describe {dataset_dir}")
