"""A page as a browser without a window shows and prints it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest


class Browser:
    """Headless Chromium.

    Args:
        profile: folder for its own files, and for pictures of pages.
    """

    def __init__(self, profile: Path):
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None:
            pytest.skip("no Chromium is installed")
        self._profile = profile
        self._command = [found, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile / 'profile'}"]

    def _run(self, *arguments: str) -> bytes:
        return subprocess.run([*self._command, *arguments], check=True, capture_output=True, timeout=120).stdout

    def pixels(self, page: Path, width: int = 1200, height: int = 3000) -> np.ndarray:
        """uint8 ``[height, width, 3]`` of the page's upper part."""
        from PIL import Image

        picture = self._profile / "page.png"
        self._run(f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri())
        return np.asarray(Image.open(picture).convert("RGB"))

    def dom(self, page: Path) -> str:
        """What the browser made of the page."""
        return self._run("--dump-dom", page.as_uri()).decode()

    def printed(self, page: Path) -> str:
        """The text of the pages that it prints, with a form feed behind each."""
        reader = shutil.which("pdftotext")
        if reader is None:
            pytest.skip("no pdftotext is installed")
        file = self._profile / "page.pdf"
        self._run("--no-pdf-header-footer", f"--print-to-pdf={file}", page.as_uri())
        return subprocess.run([reader, "-layout", str(file), "-"], check=True, capture_output=True).stdout.decode()


def n_colours(pixels: np.ndarray) -> int:
    """How many colours a picture has."""
    return len(np.unique(pixels.reshape(-1, 3), axis=0))
