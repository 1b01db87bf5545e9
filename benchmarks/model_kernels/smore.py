"""Kernels of a training step of SMORE: those of MGCN."""

from model_kernels.mgcn import step

__all__ = ["step"]
