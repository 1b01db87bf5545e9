"""RecBole's runs in several processes (``nproc``), on CPUs too.

RecBole hard-codes NCCL and CUDA devices, and its child processes import nothing but RecBole.
"""

from __future__ import annotations

from recbole.config import Config
from recbole.quick_start.quick_start import run, run_recboles
from recbole.trainer.trainer import AbstractTrainer
from recbole.utils.utils import ensure_dir

from recbole_mm.host.mend import mend

_ON_GPU = "(len(gpu_id) > 0 and torch.cuda.is_available())"
_RANK = 'self.final_config_dict["local_rank"]'


def apply() -> None:
    """Make ``run(nproc=2)`` work without CUDA and with our models, whoever calls it. Called once, at import.

    config/configurator.py:496-514: gloo and CPU devices where there is no CUDA or ``gpu_id`` is empty;
    trainer/trainer.py:63: a CPU has no device number; utils/utils.py:52: several processes make a folder at once.
    """
    enough_gpus = 'assert len(gpu_id.split(",")) >= self.final_config_dict["nproc"]'
    mend(Config._init_device, enough_gpus, f"{enough_gpus} or not {_ON_GPU}")
    mend(Config._init_device, 'backend="nccl"', f'backend="nccl" if {_ON_GPU} else "gloo"')
    mend(Config._init_device, f'"cuda", {_RANK}\n', f'*(("cuda", {_RANK}) if {_ON_GPU} else ("cpu",))\n')
    mend(Config._init_device, f"torch.cuda.set_device({_RANK})", f"{_ON_GPU} and torch.cuda.set_device({_RANK})")
    numbers = 'device_ids=[config["local_rank"]]'
    mend(AbstractTrainer.__init__, numbers, f'{numbers} if config["device"].type == "cuda" else None')
    mend(ensure_dir, "os.makedirs(dir_path)", "os.makedirs(dir_path, exist_ok=True)")
    run.__globals__["run_recboles"] = run_process


def run_process(rank: int, *arguments) -> None:
    """RecBole's ``run_recboles`` for one child process, which imports recbole_mm to find this function."""
    run_recboles(rank, *arguments)


def own_error(error: Exception) -> str | None:
    """The message of a child's error of bad input, from its traceback; None where it is another error."""
    last = str(error).strip().splitlines()[-1]
    kind, _, message = last.partition(": ")
    if kind.endswith("DistNetworkError") and "EADDRINUSE" in message:
        return "--port: another process of this machine has the port already; set another (--port=5679)"
    return message if kind in ("ValueError", "FileNotFoundError", "NotImplementedError") else None
