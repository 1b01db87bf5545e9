"""What every analysis must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_mm.testing.model_runs import SMALL
from recbole_mm.testing.toy import own_process, start, write_planted
from recbole_mm_command import main


class AnalysisConformance:
    """Inherit, and set `analysis`; it is run on checkpoints of a small training, as a command.

    Attributes:
        analysis: its name.
        model: that is trained for it.
        settings: keys of that training.
        options: of the command line, such as ``("--top", "3")``.
    """

    analysis: str
    model = "VBPR"
    settings: dict[str, Any] = {}
    options: tuple[str, ...] = ()

    @pytest.fixture(autouse=True)
    def own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """RecBole writes logs and checkpoints into the working folder and reads the command line."""
        own_process(tmp_path, monkeypatch)

    @pytest.fixture
    def checkpoint(self, tmp_path: Path) -> str:
        """File of a model that was trained for an epoch."""
        folder = write_planted(tmp_path / "data", {"visual": 12, "textual": 7})
        settings = {**SMALL, "epochs": 1, "checkpoint_dir": "saved", **self.settings}
        run = start(self.model, folder, **settings)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        return trainer.saved_model_file

    def analyse(self, checkpoint: str, out: str) -> set[Path]:
        """Run it; gives the files it wrote."""
        before = _files()
        assert main(["analyse", self.analysis, checkpoint, "--out", out, *self.options]) == 0
        return _files() - before

    def test_writes_files_into_its_folder_alone_names_them_and_writes_the_same_again(
        self, checkpoint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        first = self.analyse(checkpoint, "first")
        named = {line.removeprefix("wrote ") for line in capsys.readouterr().out.splitlines() if line[:6] == "wrote "}
        assert first and all(file.is_relative_to("first") and file.stat().st_size for file in first)
        assert named and {Path(name) for name in named} <= first
        second = self.analyse(checkpoint, "second")
        assert {file.relative_to("first") for file in first} == {file.relative_to("second") for file in second}
        for file in first:
            if file.suffix == ".csv":
                assert file.read_bytes() == (Path("second") / file.relative_to("first")).read_bytes()

    def test_no_checkpoint_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["analyse", self.analysis, "none.pth", "--out", "figures", *self.options]) == 2
        assert capsys.readouterr().err.splitlines() == ["error: checkpoint none.pth does not exist"]
        assert not Path("figures").exists()


def _files() -> set[Path]:
    return {file for file in Path().rglob("*") if file.is_file() and not file.is_relative_to("log")}
