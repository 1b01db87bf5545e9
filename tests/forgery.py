"""Checkpoints as a deceiver makes them: both files of the pair say the same, and every digest is right."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from recbole_mm.io.run_files import RunFiles
from recbole_mm.io.tensor_file import read_tensor_file, write_tensor_file


def forge(file: Path, fields: dict[str, Any] | None = None, settings: dict[str, Any] | None = None) -> None:
    """Change fields, and single settings, of the description of a checkpoint, any of whose files is `file`."""
    files = RunFiles.of(file)
    tensors, content = read_tensor_file(files.weights)
    content["settings"] |= settings or {}
    content |= fields or {}
    write_tensor_file(files.weights, tensors, content)
    digest = hashlib.sha256(files.weights.read_bytes()).hexdigest()
    files.description.write_text(json.dumps({**content, "sha256": digest}))
