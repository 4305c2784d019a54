# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A network that is ready: with all around it on the GPU where it can be, else on the CPU."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from contextlib import ExitStack
from typing import Generic
from typing import TypeVar

from trt_engine.backend import Backend
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.cuda.kernel import Kernels
from trt_engine.cuda.memory import Pool
from trt_engine.errors import BackendError
from trt_engine.errors import ConfigError
from trt_engine.errors import StoreError

Detects = TypeVar('Detects')


class LoadedNetwork(ABC, Generic[Detects]):
    """A network with the detector that is around it; a subclass opens detectors of its kind.

    Attributes:
        detector: What looks at frames.
        pipeline: gpu or cpu, where frames are prepared and outputs decoded.
        remark: What the user should know of that, once; '' for nothing.
    """

    on_cpu: str  # what remarks say where the GPU cannot do it

    def __init__(self, backend: Backend, pipeline: str, *, required: bool = False) -> None:
        """Open a detector, and have it look at something.

        The first run allocates; it also shows now rather than at the first frame whether the
        network's outputs are what the card's head promises.

        Args:
            backend: What runs the network; closed by `close`, and if this fails.
            pipeline: gpu or cpu, or auto for the GPU where it can.
            required: Whether to fail rather than to fall back, if it is auto.

        Raises:
            PerceptionError: Of the many kinds that making and calling a detector have.
        """
        self.pipeline = 'cpu'
        self.remark = ''
        self._closing = ExitStack()
        self._closing.callback(backend.close)
        try:
            detector: Detects | None = None
            if pipeline != 'cpu' and isinstance(backend, TensorRtBackend):
                detector = self._try_gpu(backend, required or pipeline == 'gpu')
            elif pipeline == 'gpu':
                raise ConfigError(
                    f'pipeline is gpu, and {backend.name} runs the network; wanted backend: '
                    'tensorrt, or pipeline: auto'
                )
            self.detector: Detects = self._open_cpu(backend) if detector is None else detector
        except BaseException:
            self._closing.close()
            raise

    def __str__(self) -> str:
        what = self.pipeline + self._details()
        if copies := getattr(self.detector, 'copies_left_out', 0):
            what += f', {copies} copies left out'
        remarks = [self.remark]
        no_graph = getattr(self.detector, 'no_graph', '')
        if no_graph not in self.remark:  # it came with frames of another size
            remarks.append(no_graph)
        remark = '; '.join(filter(None, remarks))
        return f'{what}: {remark}' if remark else what

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        self._closing.close()

    @abstractmethod
    def _open_gpu(self, backend: TensorRtBackend, closing: ExitStack) -> tuple[Detects, str]:
        """Return a detector on the GPU that has looked at something, and why it has no graph."""

    @abstractmethod
    def _open_cpu(self, backend: Backend) -> Detects:
        """Return a detector on the CPU that has looked at something."""

    def _details(self) -> str:
        """Return what follows the word for the pipeline in a line about it."""
        return ''

    def _remark(self, text: str) -> None:
        self.remark = '; '.join(filter(None, (self.remark, text)))

    def _try_gpu(self, backend: TensorRtBackend, required: bool) -> Detects | None:
        with ExitStack() as attempt:
            try:
                detector, no_graph = self._open_gpu(backend, attempt)
            except (BackendError, StoreError) as exc:
                if required:
                    raise
                self._remark(f'{self.on_cpu}: {exc}')
                return None
            self.pipeline = 'gpu'
            self._remark(no_graph)
            self._closing.push(attempt.pop_all())
            return detector


def open_resources(mapped: bool | None, closing: ExitStack) -> tuple[Kernels, Pool]:
    """Return what kernels and memory come from.

    Args:
        mapped: As for `cuda.memory.Pool`.
        closing: Closes both.

    Raises:
        BackendError: There is no GPU, or it cannot be asked.
        StoreError: The cache of kernels must not be used.
    """
    kernels = Kernels()
    closing.callback(kernels.close)
    pool = Pool(mapped=mapped)
    closing.callback(pool.close)
    return kernels, pool
