"""What a run begins with, an interrupted run or another's first stage: refused before its data are loaded.

Only what the files themselves show is seen here; the trainer compares data, features and weights.
"""

from __future__ import annotations

from recbole.config import Config

from recbole_mm.io.run_files import RunFiles
from recbole_mm.model.backbone_model import BackboneModel
from recbole_mm.registry import MODELS
from recbole_mm.run_settings import RunSettings
from recbole_mm.trainer.resume import best_is_there, check_epochs, check_same_run, check_same_settings, find_state
from recbole_mm.trainer.settings import StageSettings, TrainerSettings
from recbole_mm.trainer.stage_one import check_has_stage_one, check_stage_one
from recbole_mm.trainer.staged import check_stage, final_files, is_in_last_stage
from recbole_mm.trainer.training_state import newest_facts


def check_beginning(config: Config) -> None:
    """Raise where a run can begin neither with ``resume_from`` nor with ``stage_one_checkpoint``.

    Raises:
        FileNotFoundError: there is no such file, or not what belongs to it.
        OSError: it is no regular file, or may not be read.
        ValueError: it is damaged or a pickle that is not trusted, or of another model, backbone, stage, optimizer or
            settings of the backbone, or further on than this run is to go.
    """
    resume_file, stage_one = TrainerSettings.of(config).resume_from, StageSettings.of(config).stage_one_checkpoint
    if resume_file:
        _check_resume(config, resume_file)
    elif stage_one and issubclass(config.model_class, BackboneModel):
        _check_stage_one(config, stage_one)


def _check_resume(config: Config, file: str) -> None:
    found = find_state(file, RunSettings.of(config).trust_pickle)
    if found is None:
        return  # a trusted pickle, which the trainer opens
    files, (state, facts) = RunFiles.of(file), found
    check_same_run(facts, config["model"], config["learner"], file)
    stages = _stages(config)
    if stages:
        check_stage(facts.stage, stages, files)
        final = final_files(files, str(facts.stage), stages)
        later = newest_facts(final) if facts.stage != stages[-1] and is_in_last_stage(files, final) else None
        if later is not None:
            files, (state, facts) = final, later
    own_epochs = config[f"stage_{facts.stage}_epochs"]
    check_epochs(facts, config["epochs"] if own_epochs is None else own_epochs, file)
    best_is_there(files, state, facts)
    check_same_settings(files, config, file)


def _check_stage_one(config: Config, file: str) -> None:
    backbone = config["backbone"]
    check_has_stage_one(file, _stages(config), config.model_class)
    settings_class = MODELS.get(backbone).settings_class
    own = {key: config[key] for key in settings_class.model_fields}
    trusts = RunSettings.of(config).trust_pickle
    check_stage_one(file, config.model_class.__name__, backbone, own, settings_class.aliases, trusts)


def _stages(config: Config) -> tuple[str, ...]:
    stages_for = getattr(config.model_class, "stages_for", None)  # a user's model may know them only when it is made
    return () if stages_for is None else stages_for(config.model_class.settings_class.of(config))
