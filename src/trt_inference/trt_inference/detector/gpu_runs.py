# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Work on the GPU that is planned and recorded once, and run again and again."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from typing import Generic
from typing import TypeVar

from trt_engine.backend import Array
from trt_engine.backends.tensorrt import TensorRtBackend
from trt_engine.backends.tensorrt_context import Memory
from trt_engine.card import Thresholds
from trt_engine.cuda.memory import Event
from trt_engine.cuda.memory import Graph
from trt_engine.cuda.memory import Lease
from trt_engine.cuda.memory import Pool
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError

_WITHOUT_GRAPH = 'no CUDA graph of this network, work goes in streams: {}'


class Plan(ABC):
    """Work on the GPU, from what the host has staged to what it reads afterwards.

    Attributes:
        stream: Where it runs.
        graph: The work, recorded; None where it is not.
        graph_after_upload: All of it but the upload, recorded; None where it is not.
        retired: Whether it is of no more use once the run under way is finished.
    """

    fixed_upload = True  # whether each run brings as many bytes, as a graph that does it must

    def __init__(self, stream: Stream, memory: Lease, *, spin: bool = False) -> None:
        """Take over what it consists of.

        Args:
            stream: Where it runs.
            memory: What it took.
            spin: Whether to wait for it busily.

        Raises:
            InferenceError: CUDA has no event for it; the memory is still the caller's.
        """
        self.stream = stream
        self.graph: Graph | None = None
        self.graph_after_upload: Graph | None = None
        self.retired = False
        self._memory = memory
        self._brought = Event()
        try:
            self._done = Event(spin=spin)
        except BaseException:
            self._brought.close()
            raise

    @abstractmethod
    def upload(self, stream: Stream) -> None:
        """Put into a stream what brings to the GPU what was staged.

        Raises:
            InferenceError: CUDA refused it.
        """

    @abstractmethod
    def compute(self) -> None:
        """Put all that comes after the upload into the plan's stream, piece by piece.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """

    def enqueue(self) -> None:
        """Put the work into the stream, piece by piece.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """
        self.upload(self.stream)
        self.compute()

    def record(self) -> None:
        """Record the work; nothing of it is done yet.

        Raises:
            InferenceError: Something in it cannot be recorded.
        """
        self.graph_after_upload = Graph(self.stream, self.compute)
        if self.fixed_upload:
            self.graph = Graph(self.stream, self.enqueue)

    def launch(self, beside: Stream | None = None) -> None:
        """Put the work into the stream, as a graph where it was recorded.

        Args:
            beside: Where the upload does not wait for the run before this one, which is under way;
                None: all goes into the stream of the plan.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """
        if self.graph is not None and beside is None:
            self.graph.launch(self.stream)
        else:
            self.upload(beside or self.stream)
            if beside is not None:
                self._brought.record(beside)
                self._brought.hold(self.stream)
            if self.graph_after_upload is not None:
                self.graph_after_upload.launch(self.stream)
            else:
                self.compute()
        self._done.record(self.stream)

    def wait(self) -> None:
        """Wait until the last launch is done.

        Raises:
            InferenceError: Something in it failed.
        """
        self._done.synchronize()

    def close(self) -> None:
        """Give back everything; nothing of it may be under way."""
        for graph in (self.graph, self.graph_after_upload):
            if graph is not None:
                graph.close()
        self._brought.close()
        self._done.close()
        self._memory.close()


_Key = TypeVar('_Key', bound=Hashable)
_Plan = TypeVar('_Plan', bound=Plan)


class Runs(Generic[_Key, _Plan]):
    """The plans of one detector, by what they are for, and which of them are under way.

    Attributes:
        kept: For how many keys plans are kept; of more, those made first go.
        in_flight: Most runs that may be begun and not finished.
        no_graph: Why the work is put into the stream piece by piece, and not as a graph; '' while
            it is not.
    """

    def __init__(
        self, name: str, backend: TensorRtBackend, pool: Pool, *, kept: int, in_flight: int
    ) -> None:
        """Begin without a plan.

        Args:
            name: Of the card, for messages.
            backend: What runs the network; plans run in its stream.
            pool: Where their memory comes from.
            kept: As the attribute.
            in_flight: As the attribute.

        Raises:
            BackendUnavailableError: An output is known after a run only.
        """
        if backend.varying:
            raise BackendUnavailableError(
                f'the size of output {backend.varying[0]!r} is known after each run only; it is '
                'decoded on the CPU'
            )
        self.kept = kept
        self.in_flight = in_flight
        self.no_graph = ''
        self.forbid_graph(backend.no_graph)
        self._name = name
        self._stream = backend.stream
        self._pool = pool
        self._beside: Stream | None = None  # where uploads go while another run is under way
        self._plans: dict[_Key, list[_Plan]] = {}
        self._planned_for: Thresholds | None = None
        self._under_way: list[_Plan] = []
        self._to_trim = False

    def forbid_graph(self, reason: str) -> None:
        """Have nothing recorded from now on, for this reason; '' for none."""
        if reason:
            self.no_graph = _WITHOUT_GRAPH.format(reason)

    def require_room(self) -> None:
        """Refuse another run where there may be none.

        Raises:
            InferenceError: `in_flight` runs have not been finished.
        """
        if len(self._under_way) >= self.in_flight:
            raise InferenceError(
                f'{self._name}: a run was begun with {len(self._under_way)} not finished; '
                f'allowed: {self.in_flight}'
            )

    def plan(self, key: _Key, thresholds: Thresholds, make: Callable[[Lease], _Plan]) -> _Plan:
        """Return a plan that no run under way has.

        Args:
            key: What it is for.
            thresholds: What it has for these; plans for others are dropped.
            make: Makes one where there is none, with the memory given; it has staged something
                for a first run.

        Raises:
            PerceptionError: Of the kinds that making and running it have.
        """
        if thresholds != self._planned_for:
            self.trim()
            self._planned_for = thresholds
        for plan in self._plans.get(key, ()):
            if plan not in self._under_way:
                return plan
        while key not in self._plans and len(self._plans) >= self.kept:
            self._retire(next(iter(self._plans)))
        plan = self._make(make)
        self._plans.setdefault(key, []).append(plan)
        return plan

    def begin(self, plan: _Plan) -> None:
        """Put the work of a plan into the stream.

        Raises:
            InferenceError: CUDA or TensorRT refused it.
        """
        if self._under_way and not self._pool.mapped:  # where nothing is copied, nothing waits
            self._beside = self._beside or Stream()
            plan.launch(self._beside)
        else:
            plan.launch()
        self._under_way.append(plan)

    @property
    def keys(self) -> tuple[_Key, ...]:
        """Return what there are plans for."""
        return tuple(self._plans)

    @contextmanager
    def finished(self, plan: _Plan) -> Iterator[None]:
        """Wait for a run that was begun; within, what it made can be read.

        Raises:
            InferenceError: Something in it failed.
        """
        try:
            plan.wait()
            yield
        finally:
            self._under_way.remove(plan)
            if plan.retired:
                plan.close()
                if self._to_trim:
                    self._trim()

    def drop(self) -> None:
        """Give back every plan, those under way once they are finished."""
        while self._plans:
            self._retire(next(iter(self._plans)))

    def trim(self) -> None:
        """Give back every plan, and free the memory; of those under way once they are finished."""
        self.drop()
        self._trim()

    def close(self) -> None:
        """Give back everything; a second call does nothing."""
        if self._under_way:
            self._settle()
        self.drop()
        while self._under_way:
            self._under_way.pop().close()
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    def _trim(self) -> None:
        self._pool.trim()
        self._to_trim = any(plan.retired for plan in self._under_way)

    def _retire(self, key: _Key) -> None:
        for plan in self._plans.pop(key):
            plan.retired = True
            if plan not in self._under_way:
                plan.close()

    def _make(self, make: Callable[[Lease], _Plan]) -> _Plan:
        memory = Lease(self._pool)
        try:
            plan = make(memory)
        except BaseException:
            self._settle()
            memory.close()
            raise
        try:
            # TensorRT does once, outside of any graph, what it does in its first run only
            plan.launch()
            self._stream.synchronize()
            if not self.no_graph:
                try:
                    plan.record()
                except InferenceError as exc:
                    self.forbid_graph(str(exc))
        except BaseException:
            self._settle()
            plan.close()
            raise
        return plan

    def _settle(self) -> None:
        """Wait until nothing is under way in memory that is to be given back."""
        with suppress(InferenceError):  # the failure at hand says more
            if self._beside is not None:
                self._beside.synchronize()
            self._stream.synchronize()


def device_address(view: Array, memories: Mapping[str, Memory], name: str) -> int:
    """Return where on the GPU that lies which a view into the host's side begins with.

    Args:
        view: Of one of the arrays.
        memories: The inputs and outputs of a network.
        name: Of the card, for the message.

    Raises:
        InferenceError: It is a view of none of them.
    """
    place = view.ctypes.data
    for memory in memories.values():
        begin = memory.host.ctypes.data
        if begin <= place < begin + max(1, memory.host.nbytes):
            return memory.pointer + place - begin
    raise InferenceError(f'{name}: the decoder reads what is no output; report this as a defect')
