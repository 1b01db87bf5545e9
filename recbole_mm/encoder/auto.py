"""Loading frozen encoders of pictures, texts and sounds, by a registered name, a folder or a hub's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.pretrained import clear_errors, encoder_folder, quiet, require_transformers
from recbole_mm.encoder.safety import EncoderError
from recbole_mm.io.names import closest
from recbole_mm.plugins import import_plugins
from recbole_mm.registry import ENCODERS

_MISSPELT = 0.8  # likeness to a registered name from which on another is taken for a slip of it


def load_image_encoder(name: str, device: str = "cpu") -> ContentEncoder:
    """An encoder of pictures, frozen: a dual encoder's image tower, any image model of transformers, or a plugin's.

    Args:
        name: registered, or a folder as ``save_pretrained`` writes it, image processor included, or a name on the hub.
        device: to put it on.

    Raises:
        ValueError: there is none, it is damaged, it reads no pictures, or transformers is not installed.
    """
    return _load("pictures", name, device)


def load_text_encoder(name: str, device: str = "cpu", **options: str) -> ContentEncoder:
    """An encoder of texts, frozen: a dual encoder's text tower, any text model of transformers, sentence-transformers,
    or a plugin's.

    Args:
        options: `pooling`, `prefix` and `dtype` of :class:`~recbole_mm.encoder.text_encoders.AutoTexts`.

    Raises:
        ValueError: there is none, it is damaged, it reads no texts or takes no such options, or the library it needs is
            not installed.
    """
    return _load("texts", name, device, options)


def load_sound_encoder(name: str, device: str = "cpu") -> ContentEncoder:
    """An encoder of sounds, frozen: a dual encoder's sound tower, any sound model of transformers, or a plugin's.

    Raises:
        ValueError: there is none, it is damaged, it reads no sounds, or the library it needs is not installed.
    """
    return _load("sounds", name, device)


@dataclass(frozen=True)
class EncoderLoader:
    """Loads an encoder from its name and a device, in another process too, which knows nothing of our plugins.

    Attributes:
        reads: what its contents are, ``pictures``, ``texts`` or ``sounds``.
        plugins: modules to import before.
        options: for the encoder's ``load``, by name.
    """

    reads: str
    plugins: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    def __call__(self, name: str, device: str) -> ContentEncoder:
        """Raises ValueError as :func:`load_image_encoder`."""
        import_plugins(list(self.plugins))
        return _load(self.reads, name, device, dict(self.options))


def _load(reads: str, name: str, device: str, options: dict[str, str] | None = None) -> ContentEncoder:
    options = options or {}
    if name in ENCODERS and not ENCODERS.get(name).has_files and not Path(name).is_dir():
        _check_options(ENCODERS.get(name), options)
        encoder = _made(reads, name)
    else:
        _check_spelling(reads, name)
        require_transformers()
        with quiet(), clear_errors(name):
            folder = encoder_folder(name)
            kinds = [entry.target for entry in ENCODERS.entries() if entry.facts["reads"] == reads]
            kind = next((kind for kind in reversed(kinds) if kind.has_files and kind.recognises(folder)), None)
            if kind is None:
                raise EncoderError(f"no encoder of {reads} recognises it")
            _check_options(kind, options)
            encoder = kind.load(name, folder, device, **options)
    return encoder.eval().requires_grad_(False).to(device)


def _check_spelling(reads: str, name: str) -> None:
    """Raise ValueError where a name is no folder, and so like a registered one that it is not looked for on the hub."""
    known = [entry.name for entry in ENCODERS.entries() if entry.facts["reads"] == reads and not entry.target.has_files]
    meant = closest(name, known, _MISSPELT)
    if meant and not Path(name).is_dir():
        raise ValueError(
            f"encoder {name} is no folder and no registered encoder{meant}; registered for {reads}: "
            f"{', '.join(known)}; of a model on the hub give its owner too, OWNER/{name}"
        )


def _check_options(kind: type[ContentEncoder], options: dict[str, str]) -> None:
    unknown = sorted(set(options) - kind.options)
    if unknown:
        raise EncoderError(f"{kind.__name__} takes no --{unknown[0]}; leave it out")


def _made(reads: str, name: str) -> ContentEncoder:
    entry = ENCODERS.entry(name)
    if entry.facts["reads"] != reads:
        raise ValueError(f"encoder {name} reads {entry.facts['reads']}, and the contents are {reads}; choose another")
    return entry.target()
