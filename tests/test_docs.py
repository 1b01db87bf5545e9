"""README and docs: names, links, sizes, and every command and block of code, which run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

import recbole_mm_command
from recbole_mm.data.default_data import build_default_data
from recbole_mm.experiment.experiment import checked_rows
from recbole_mm.experiment.plan import read_plan
from recbole_mm.model_tables import pages
from recbole_mm.quick_start import main as run_main
from recbole_mm.quick_start import run
from recbole_mm.registry import (
    ADAPTERS,
    ANALYSES,
    CONVERTERS,
    ENCODERS,
    MODELS,
    PROPAGATIONS,
    TRAINERS,
    TUNINGS,
    variants,
)
from recbole_mm.setting_rules import properties_dir
from recbole_mm.testing.toy import write_planted
from recbole_mm.tuning.command import main as tune_main
from tests.extraction.test_sounds import tone, write_hubert
from tests.extraction.test_videos import write_video
from tests.tiny_clip import write_dual_clip

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
QUICK = "--epochs=1 --embedding_size=8 --train_batch_size=512 --gpu_id= --show_progress=False --state=ERROR".split()
MODEL_OF = {
    "weak-modality": "POWERec", "modality-weights": "MARGO", "feature-drift": "FREEDOM", "attribution": "FREEDOM"
}  # fmt: skip
ELSEWHERE = {  # what a command begins with, or holds, and where it is run instead
    "pip ": "test_wheel.py, and the continuous integration's own environment",
    "make ": "the continuous integration",
    "pytest": "this is it",
    "ray ": "needs a cluster",
    "10.0.0.1": "needs a cluster: tests/tuning/test_ray_cluster.py",
    "/shared/": "needs a cluster: tests/extraction/test_ray_job.py",
    "--tool=Ray": "tests/tuning/test_ray_search.py",
    "--nproc=2": "tests/test_distributed.py",
    "--matmul_precision=bf16": "tests/trainer/test_trainer.py, where the processor has units for it",
    "--jobs 2": "tests/experiment/test_experiment.py",
    "recbole-mm report": "tests/experiment/test_report.py",
    "shop": "tests/test_first_steps.py",
    "python benchmarks/": "tests/benchmarks, and the hours that they take",
}


# ---------------------------------------------------------------- names, links, sizes


def is_ours(model: str) -> bool:
    """Whether no test of this process has registered it."""
    return MODELS.entry(model).target.__module__.startswith("recbole_mm.")


def test_the_readme_is_short():
    assert len(README.read_bytes()) < 8192


def test_the_tables_of_models_are_the_registrys():
    """``make properties`` writes them."""
    written = pages(ROOT)
    assert written == {page: page.read_text(encoding="utf-8") for page in (README, ROOT / "docs" / "models.md")}
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (\d{4}) \|", text, flags=re.MULTILINE)
    entries = {name: MODELS.entry(name).facts for name in MODELS if is_ours(name)}
    assert {name: (paper, int(year)) for name, paper, year in rows} == {
        name: (facts["paper"], facts["year"]) for name, facts in entries.items()
    }
    assert all(f"`{variant}`" in text for variant in variants())
    assert all(f"`{name}`" in README.read_text(encoding="utf-8") for name in entries)


def test_every_model_has_settings_and_a_grid():
    for name in (*MODELS, *variants()):
        if is_ours(variants().get(name, name)):
            assert (properties_dir() / "model" / f"{name}.yaml").is_file()
            assert (properties_dir() / "hyper" / f"{name}.hyper").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    generated = {"results.md"}  # of the site
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http") and target not in generated:
            assert (page.parent / target).exists(), target


# ---------------------------------------------------------------- commands and code


def fenced(page: Path, language: str = "") -> list[str]:
    """Texts of the page's blocks in a language; of those without one if none is given."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def commands() -> list[tuple[str, str]]:
    """Page and command of every line in a block that is no Python, continued lines joined, comments left out."""
    found = []
    for page in PAGES:
        for block in fenced(page):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.sub(r"\s+#.*", "", line).strip()
                if re.match(r"(recbole-mm|python|pip|make|pytest|ray) ?", command):
                    found.append((page.name, command))
    return found


def blocks() -> list[tuple[str, str]]:
    """Page and text of every block of Python."""
    return [(page.name, block) for page in PAGES for block in fenced(page, "python")]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """A working folder with what the pages speak of, and a checkpoint of each model that they open."""
    folder = tmp_path_factory.mktemp("docs")
    data = folder / "dataset_atomic"
    write_planted(folder / "planted", {"visual": 6, "textual": 6})
    items = [f"i{number}" for number in range(30)]
    pairs = [(f"u{user}", item) for user in range(40) for item in items[user % 2 :: 2]]  # the group's, as the features
    build_default_data(data)
    for name in ("toys", "tiktok"):
        place = data / name
        place.mkdir(parents=True)
        lines = [f"{user}\t{item}\t{number}" for number, (user, item) in enumerate(pairs)]
        header = "user_id:token\titem_id:token\ttimestamp:float"
        (place / f"{name}.inter").write_text("\n".join([header, *lines]) + "\n")
        texts = [f"{item}\tA film {item}\tdrama\tSomebody does {item}" for item in items]
        header = "item_id:token\ttitle:token_seq\tgenres:token_seq\tplot:token_seq"
        (place / f"{name}.item").write_text("\n".join([header, *texts]) + "\n")
        for modality in ("visual", "textual"):
            shutil.copy(folder / "planted" / "toy" / f"toy.{modality}", place / f"{name}.{modality}")
        (place / f"{name}.yaml").write_text("eval_history: train\n")
    settings = {"model": "BPR", "dataset": "toys", "data_path": "dataset_atomic", "epochs": 1, "metrics": ["MRR"],
                "topk": [5], "valid_metric": "MRR@5"}  # fmt: skip
    (folder / "mine.yaml").write_text(json.dumps(settings))
    plan = {"data": ["toys"], "models": ["LightGCN"], "settings": {"epochs": 1, "embedding_size": 8}}
    (folder / "PLAN.yaml").write_text(json.dumps(plan))
    (folder / "mine.hyper").write_text("learning_rate choice [0.01]\n")
    (folder / "properties" / "hyper").mkdir(parents=True)
    (folder / "properties" / "hyper" / "POWERec.hyper").write_text("prompt_num choice [1,2]\n")
    (folder / "PICTURES").mkdir()
    rng = np.random.default_rng(0)
    for item in (*items, "42"):
        place = folder / "42.jpg" if item == "42" else folder / "PICTURES" / f"{item}.jpg"
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(place)
    for name in ("DIR_OR_NAME", "openai/clip-vit-base-patch16"):
        write_dual_clip(folder / name, blocks=9)
    write_hubert(folder / "facebook" / "hubert-base-ls960")
    for name in ("SOUNDS", "VIDEOS"):
        (folder / name).mkdir()
    soundfile.write(folder / "SOUNDS" / f"{items[0]}.wav", tone(1), 16_000)
    write_video(folder / "VIDEOS" / f"{items[0]}.mp4", 9)
    (folder / "users.txt").write_text("u1\nu2\n")
    np.save(folder / "features.npy", rng.random((len(items), 5), dtype=np.float32))
    (folder / "item_ids.txt").write_text("\n".join(items) + "\n")
    (folder / "FOLDER").mkdir()
    rows = [f"{user}\t{item}\t{item % 3}" for user in range(6) for item in range(6)]
    (folder / "FOLDER" / "films.inter").write_text("userID\titemID\tx_label\n" + "\n".join(rows) + "\n")
    np.save(folder / "FOLDER" / "image_feat.npy", rng.random((6, 4), dtype=np.float32))
    return folder


@pytest.fixture(scope="module")
def checkpoints(workshop, tmp_path_factory) -> dict[str, str]:
    """A short run of each model that an example opens."""
    made = {}
    for model in {"POWERec", "BPR", *MODEL_OF.values()}:
        own = {"backbone": "DRAGON"} if model == "MARGO" else {}
        saved = tmp_path_factory.mktemp("saved")
        settings = {"data_path": str(workshop / "dataset_atomic"), "checkpoint_dir": str(saved), "epochs": 1,
                    "gpu_id": "", "embedding_size": 8, "train_batch_size": 512, "show_progress": False,
                    "state": "ERROR", **own}  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["script"])  # RecBole reads pytest's
            made[model] = run(model, "toys", config_dict=settings)["checkpoint"]
    return made


@pytest.fixture
def place(workshop, tmp_path, monkeypatch) -> Path:
    """A copy of the workshop as working folder."""
    folder = tmp_path / "here"
    shutil.copytree(workshop, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page, command", commands(), ids=lambda text: text[:60])
def test_a_command(page, command, place, checkpoints):
    for part, where in ELSEWHERE.items():
        if command.startswith(part) or part in command:
            pytest.skip(where)
    words = shlex.split(re.sub(r" \[[^]=]*\]", "", command))  # [CHECKPOINT ...] says that there may be more
    kind = next((name for name in MODEL_OF if name in words), None)
    words = [checkpoints[MODEL_OF.get(kind, "POWERec")] if word == "CHECKPOINT" else word for word in words]
    words = [re.sub(r"saved/POWERec-\.\.\.\.pth", checkpoints["POWERec"], word) for word in words]
    if any(word.startswith("--resume_from") for word in words):
        words.append("--dataset=toys")  # of the checkpoint
    words = ["i1,i2" if word == "ID,ID" else "PICTURES" if word == "DIR" else word for word in words]
    if "extract" in words or "npy" in words:  # of a modality that is not there yet
        named = [words[words.index("--modality") + 1]] if "--modality" in words else ["visual", "textual"]
        for file in (file for name in named for file in Path("dataset_atomic/toys").glob(f"toys.{name}*")):
            file.unlink()
    assert call(words) == 0


def call(words: list[str]) -> int:
    program, *arguments = words
    if program == "python":
        script, *arguments = arguments
        main = {"run_recbole_mm.py": run_main, "run_hyper_mm.py": tune_main}[script]
        small = {"--dataset": ["--dataset=toys"], "--params_file": ["--algo=random", "--max_evals=3"]}
        named = {argument.partition("=")[0] for argument in arguments}
        added = [option for key, more in small.items() if main is tune_main and key not in named for option in more]
        return main([*quickly(arguments), *added], program)
    if arguments[0] == "run":
        return run_main(quickly(arguments[1:]), program)
    return recbole_mm_command.main(arguments)


def quickly(arguments: list[str]) -> list[str]:
    resumes = any("resume_from" in argument for argument in arguments)
    quick = [flag for flag in QUICK if not any(argument.startswith(flag.partition("=")[0]) for argument in arguments)]
    return [argument for argument in arguments if not argument.startswith("--epochs")] + quick + (
        ["--epochs=1"] if any(argument.startswith("--epochs") for argument in arguments) and not resumes else []
    )


def test_the_readmes_plan_can_run(place):
    (text,) = fenced(README, "yaml")
    Path("first.yaml").write_text(text)
    plan = read_plan("first.yaml")
    rows = checked_rows(plan, Path("first.yaml"), ())
    assert len(rows) == 3 and len(plan.seeds) == 2
    assert all(row.settings["data_path"] == str(place / "dataset_atomic") for row in rows)


@pytest.mark.parametrize("page, block", blocks(), ids=lambda text: text[:30])
def test_a_block_of_code(page, block, place, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "outside"))
    monkeypatch.setattr("sys.argv", ["script"])
    if "run_recbole(" in block:
        block = block.replace('"data_path": "dataset_atomic"', '"data_path": "dataset_atomic", "epochs": 1')
    for parts in (ADAPTERS, ANALYSES, CONVERTERS, ENCODERS, MODELS, PROPAGATIONS, TRAINERS, TUNINGS):
        entries = {entry.name: entry for entry in parts.entries() if entry.target.__module__.startswith("recbole_mm.")}
        monkeypatch.setattr(parts, "_entries", entries)  # what an example registers goes after it
    rows = [(f"u{user}", f"i{item}", user + item) for user in range(6) for item in range(6)]
    films = pd.DataFrame({"item": [f"i{item}" for item in range(6)], "title": list("abcdef")})
    frames = {"ratings": pd.DataFrame(rows, columns=["user", "item", "time"]), "films": films, "vectors": np.eye(6)}
    exec(compile(block, page, "exec"), {"__name__": "example", **frames})
