"""What loading any encoder needs: whole weights, one clear error, no bars, and which version it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_mm.encoder.limits import leaves
from recbole_mm.encoder.safety import CONFIG_FILE, EncoderError, check_safe
from recbole_mm.io.errors import one_line
from recbole_mm.io.reading import open_regular

MOST_LETTERS = 400  # of a library's message: transformers lists all kinds of models that it knows
CODE_SUFFIXES = (".py", ".pyc")
# of a hub's files those that are read: no pickles, no code, and no weights in forms of other libraries
READ_FROM_HUB = ("*.json", "*.safetensors", "*.txt", "*.model", "*.vocab", "*.bpe", "*.codes", "*.tiktoken")


def usable_device(name: str | None) -> str:
    """The device of that name, or the GPU where there is one; raises ValueError where it cannot be used."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device: {name} cannot be used ({one_line(error)[:120]})") from error
    return name


def require_transformers() -> None:
    """Raises ValueError with the line to type where transformers is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ValueError('encoders need transformers; type: pip install "recbole-mm[clip]"') from error


@contextmanager
def clear_errors(name: str | Path) -> Iterator[None]:
    """Turn what the libraries raise while an encoder loads, of whatever kind, into one ValueError that names it."""
    try:
        yield
    except MemoryError:  # which says nothing about the encoder
        raise
    except Exception as error:
        kind = "" if Path(name).is_dir() else ", which is no folder, from the hub"
        raise ValueError(f"encoder {name}{kind} cannot be loaded: {_reason(error)}") from error


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Name the file of an encoder that a library reads in whatever it raises.

    Raises:
        EncoderError: it raised something.
    """
    try:
        yield
    except (EncoderError, MemoryError):
        raise
    except Exception as error:
        raise EncoderError(f"{file}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The message of an error, a long one cut, with its kind where that is none that says all by itself."""
    said = one_line(error)
    said = said if len(said) <= MOST_LETTERS else f"{said[:MOST_LETTERS]} ..."
    is_clear = isinstance(error, EncoderError | OSError | ValueError | RuntimeError | ImportError) and said
    return said if is_clear else f"{type(error).__name__}: {said}"


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars, and its report of weights that we leave out."""
    from transformers.utils import logging

    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()


def encoder_folder(name: str | Path) -> Path:
    """The folder of an encoder's files, downloaded into the hub's cache where `name` is none; nothing of it has run.

    Raises:
        EncoderError: it would run code or be unpickled, see :func:`~recbole_mm.encoder.safety.check_safe`.
        OSError, ValueError: there is none.
    """
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(str(name), allow_patterns=list(READ_FROM_HUB)))
    check_safe(folder)
    return folder


def stored_weights(
    kind: Any, folder: Path, config: Any, optional: str | None = None, dtype: torch.dtype = torch.float32
) -> Any:
    """The model, all of whose weights are in the files: transformers makes up missing ones.

    Args:
        kind: class of transformers, or an Auto class.
        folder: of :func:`encoder_folder`.
        optional: a part of the model that is removed, set to None, where the files lack weights of it.
        dtype: of the weights, whatever they are stored in.

    Raises:
        EncoderError: weights are missing, or of other shapes than the configuration's; they are damaged.
    """
    with reading(f"model.safetensors, as {CONFIG_FILE} describes it"), _shape_errors(), _unknown_words(config):
        # some are stored in half precision, which transformers would keep
        model, found = kind.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    absent = set(found["missing_keys"])
    of_optional = {key for key in absent if optional is not None and key.startswith(f"{optional}.")}
    if absent > of_optional:
        missing = sorted(absent - of_optional)
        raise EncoderError(f"its files lack {len(missing)} weights (first: {missing[0]})")
    if optional is not None and of_optional:
        setattr(model, optional, None)
    return model


@contextmanager
def _shape_errors() -> Iterator[None]:
    """Say what transformers' error only refers to its report for, which we leave out."""
    try:
        yield
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ValueError("weights have other shapes; take both files from one model") from error


@contextmanager
def _unknown_words(config: Any) -> Iterator[None]:
    """Name the setting whose word transformers looks up in vain, such as an activation's.

    Raises:
        EncoderError: there is one.
    """
    try:
        yield
    except KeyError as error:
        word = str(error.args[0]) if error.args else ""
        named = [(key, value) for key, value in leaves(config.to_dict()) if isinstance(value, str) and value]
        for key, value in named:
            if value == word or word.startswith(f"function {value} not found"):
                raise EncoderError(f"{CONFIG_FILE}: {key} is {value!r}, which transformers does not know") from error
        raise


def revision(name: str | Path, folder: Path) -> str:
    """Which version an encoder is: the hub's commit, or the hash of a folder's files, ``sha256:...``.

    Args:
        folder: of :func:`encoder_folder`; the hub's cache names it after the commit.
    """
    if not Path(name).is_dir():
        return folder.name
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in CODE_SUFFIXES and not file.name.startswith("."):
            digest.update(file.relative_to(folder).as_posix().encode())
            with open_regular(file) as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:16]}"


def folder_config(folder: Path) -> Any:
    """The configuration of a model of transformers in a folder; nothing of the folder runs."""
    from transformers import AutoConfig

    with reading(CONFIG_FILE):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)  # nor ask whether to run it


def reads(config: Any, main_input: str, method: str) -> bool:
    """Whether the model of a configuration has an input as its main one, or a dual encoder's method; it is not loaded.

    Args:
        main_input: such as ``pixel_values``.
        method: such as ``get_image_features``.
    """
    from transformers import MODEL_MAPPING

    kinds: Any = MODEL_MAPPING.get(type(config), ())
    kinds = kinds if isinstance(kinds, tuple | list) else (kinds,)
    return any(hasattr(kind, method) or kind.main_input_name == main_input for kind in kinds)


def provenance(name: str, folder: Path, **preprocessing: Any) -> dict[str, Any]:
    """The facts of an encoder from a folder, see :class:`~recbole_mm.encoder.content_encoder.ContentEncoder`."""
    return {"encoder": str(name), "revision": revision(name, folder), "preprocessing": preprocessing}


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; raises EncoderError where there is none."""
    from transformers import AutoTokenizer

    with reading("its tokenizer"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def projected(output: Any) -> Tensor:
    """The projected features of a dual encoder's tower, in any form that transformers gives them."""
    return output if isinstance(output, Tensor) else output.pooler_output
