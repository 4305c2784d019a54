# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for TensorRT's module, in any version: what that version lacks is not there.

FAKE_TENSORRT says which, and what its builder does, such as `8.6.0 build` or `10.3.0 crash`.
Attributes can be set where the real classes have them, and nowhere else. What was set is in the
plan, as JSON, and the ONNX file with it: an engine computes through ONNX Runtime. It refuses what
the real one refuses, in the same words, and what the documents call undefined, in words of its own.
What is reported to an error recorder is not logged as well, as seen with TensorRT-RTX 1.7.1.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
import ctypes
from functools import cached_property
import json
import os
from pathlib import Path
import signal
import sys
import time
from typing import Any
import weakref

from google.protobuf.message import DecodeError
import numpy as np
import onnx
import onnxruntime

from trt_builder.compat import Feature
from trt_builder.compat import FEATURES
from trt_builder.compat import parse_version

__version__, _, _DOES = os.environ['FAKE_TENSORRT'].partition(' ')
_GPU = os.environ.get('FAKE_GPU', '8.7')


class _Member:
    def __init__(self, kind: str, name: str, number: int) -> None:
        self.kind, self.name, self.number = kind, name, number

    def __int__(self) -> int:
        return self.number


def _enum(kind: str, names: str) -> type:
    members = {name: _Member(kind, name, i) for i, name in enumerate(names.split())}
    return type(kind, (), dict(members))


NetworkDefinitionCreationFlag = _enum('NetworkDefinitionCreationFlag', 'EXPLICIT_BATCH')
BuilderFlag = _enum(
    'BuilderFlag',
    'FP16 INT8 BF16 FP8 TF32 OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS GPU_FALLBACK '
    'REFIT REFIT_IDENTICAL STRIP_PLAN SPARSE_WEIGHTS VERSION_COMPATIBLE WEIGHT_STREAMING',
)
PreviewFeature = _enum('PreviewFeature', 'PROFILE_SHARING_0806')
ExecutionContextAllocationStrategy = _enum(
    'ExecutionContextAllocationStrategy', 'STATIC ON_PROFILE_CHANGE USER_MANAGED'
)
ErrorCodeTRT = _enum(
    'ErrorCodeTRT',
    'SUCCESS UNSPECIFIED_ERROR INTERNAL_ERROR INVALID_ARGUMENT INVALID_CONFIG FAILED_ALLOCATION '
    'FAILED_INITIALIZATION FAILED_EXECUTION FAILED_COMPUTATION INVALID_STATE UNSUPPORTED_STATE',
)
MemoryPoolType = _enum(
    'MemoryPoolType',
    'WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM TACTIC_DRAM TACTIC_SHARED_MEMORY',
)
HardwareCompatibilityLevel = _enum(
    'HardwareCompatibilityLevel', 'NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY'
)
TacticSource = _enum(
    'TacticSource', 'CUBLAS CUBLAS_LT CUDNN EDGE_MASK_CONVOLUTIONS JIT_CONVOLUTIONS'
)
ProfilingVerbosity = _enum('ProfilingVerbosity', 'LAYER_NAMES_ONLY NONE DETAILED')
OnnxParserFlag = _enum('OnnxParserFlag', 'NATIVE_INSTANCENORM REPORT_CAPABILITY_DLA')
DataType = _enum('DataType', 'FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64')
TensorFormat = _enum('TensorFormat', 'LINEAR CHW2 HWC8 CHW4 CHW16 CHW32 HWC DLA_LINEAR')
DeviceType = _enum('DeviceType', 'GPU DLA')
LayerType = _enum('LayerType', 'CONVOLUTION CONSTANT GRID_SAMPLE')
TensorIOMode = _enum('TensorIOMode', 'NONE INPUT OUTPUT')
TensorLocation = _enum('TensorLocation', 'DEVICE HOST')
LayerInformationFormat = _enum('LayerInformationFormat', 'ONELINE JSON')


class ILogger:
    Severity = _enum('Severity', 'INTERNAL_ERROR ERROR WARNING INFO VERBOSE')


class _Base:
    """Of which a subclass must call __init__, as pybind11 wants it."""

    def __init__(self) -> None:
        self.initialized = True


class IErrorRecorder(_Base):
    pass


class IOutputAllocator(_Base):
    pass


class IProgressMonitor:
    pass


class IInt8EntropyCalibrator2:
    pass


class IInt8MinMaxCalibrator:
    pass


class IInt8LegacyCalibrator:
    pass


class _Strict:
    """Refuses attributes that the real class does not have, in this version."""

    ALLOWED = ''

    def __setattr__(self, name: str, value: Any) -> None:
        here = FEATURES.get(f'{type(self).__name__}.{name}')
        if name not in self.ALLOWED.split() or (here and not here.has('tensorrt', _VERSION)):
            raise AttributeError(f'TensorRT {__version__}: {type(self).__name__} has no {name}')
        object.__setattr__(self, name, value)


Dims = list


class ITensor(_Strict):
    ALLOWED = 'dtype allowed_formats'

    def __init__(self, name: str, shape: Sequence[int], dtype: str = 'FLOAT') -> None:
        object.__setattr__(self, 'name', name)
        object.__setattr__(self, 'shape', tuple(shape))
        # before 10 the parser made INT32 of INT64
        self.dtype = getattr(DataType, dtype if hasattr(DataType, dtype) else 'INT32')
        self.allowed_formats = 1

    def told(self) -> list[Any]:
        layout = next(
            each for each in vars(TensorFormat).values()
            if isinstance(each, _Member) and self.allowed_formats >> each.number & 1
        )  # fmt: skip
        return [self.name, self.dtype.name, layout.name, self.shape]


_DTYPES = {
    onnx.TensorProto.FLOAT: 'FLOAT',
    onnx.TensorProto.FLOAT16: 'HALF',
    onnx.TensorProto.BFLOAT16: 'BF16',
    onnx.TensorProto.INT8: 'INT8',
    onnx.TensorProto.UINT8: 'UINT8',
    onnx.TensorProto.INT32: 'INT32',
    onnx.TensorProto.INT64: 'INT64',
    onnx.TensorProto.BOOL: 'BOOL',
}


def _tensor(info: onnx.ValueInfoProto) -> ITensor:
    kind = info.type.tensor_type
    return ITensor(info.name, _shape(info), _DTYPES[kind.elem_type])


def _shape(info: onnx.ValueInfoProto) -> list[int]:
    dims = info.type.tensor_type.shape.dim
    return [each.dim_value if each.HasField('dim_value') else -1 for each in dims]


class ILayer(_Strict):
    ALLOWED = 'precision'
    num_outputs = 1

    def __init__(
        self, name: str, type: _Member = LayerType.CONVOLUTION, output: ITensor | None = None
    ) -> None:
        object.__setattr__(self, 'name', name)
        object.__setattr__(self, 'types', {})
        object.__setattr__(self, 'type', type)
        object.__setattr__(self, 'output', output)

    def get_output(self, index: int) -> ITensor:
        return self.output or ITensor(f'{self.name}.{index}', (1, 8))

    def set_output_type(self, index: int, kind: _Member) -> None:
        if not FEATURES['ILayer.set_output_type'].has('tensorrt', _VERSION):
            raise AttributeError('set_output_type')
        self.types[index] = kind.name


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.inputs: list[ITensor] = []
        self.outputs: list[ITensor] = []
        self.layers = [ILayer('conv_0'), ILayer('conv_1')]
        self.model = onnx.ModelProto()

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> ILayer:
        return self.layers[index]

    def mark_output(self, tensor: ITensor) -> None:
        self.outputs.append(tensor)
        self.model.graph.output.add().CopyFrom(
            next(each for each in self.model.graph.value_info if each.name == tensor.name)
        )


class IBuilderConfig(_Strict):
    ALLOWED = (
        'builder_optimization_level max_aux_streams avg_timing_iterations profiling_verbosity '
        'hardware_compatibility_level plugins_to_serialize default_device_type DLA_core '
        'progress_monitor int8_calibrator'
    )

    def __init__(self) -> None:
        object.__setattr__(self, 'told', {'flags': [], 'cleared': [], 'pools': {}})
        object.__setattr__(self, 'timing_cache', None)

    def set_flag(self, flag: _Member) -> None:
        self.told['flags'].append(flag.name)

    def clear_flag(self, flag: _Member) -> None:
        self.told['cleared'].append(flag.name)

    def set_memory_pool_limit(self, pool: _Member, size: int) -> None:
        self.told['pools'][pool.name] = size

    def set_preview_feature(self, feature: _Member, enable: bool) -> None:
        if enable:
            self.told.setdefault('preview', []).append(feature.name)

    def can_run_on_DLA(self, layer: ILayer) -> bool:
        return layer.name != 'conv_1'

    def set_tactic_sources(self, mask: int) -> bool:
        self.told['tactic_sources'] = mask
        return True

    def create_timing_cache(self, data: bytes) -> ITimingCache:
        return ITimingCache(data)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.data.startswith(b'foreign'):
            return False
        object.__setattr__(self, 'timing_cache', cache)
        return True

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.told.setdefault('profiles', []).append(profile.shapes)
        return 0

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        return True


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b'+'


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = [list(low), list(best), list(high)]


class ParserError:
    def desc(self) -> str:
        return 'Assertion failed: weights must be an initializer'

    def node_name(self) -> str:
        return 'conv_1'

    def node_operator(self) -> str:
        return 'Conv'


class OnnxParser:
    num_errors = 1

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network, self.logger = network, logger

    def parse_from_file(self, path: str) -> bool:
        if _DOES == 'refuse':
            self.logger.log(ILogger.Severity.ERROR, 'In node 1 (parseGraph): INVALID_NODE')
            return False
        try:
            model = onnx.load(path)
        except DecodeError:
            self.logger.log(ILogger.Severity.ERROR, 'ModelImporter.cpp: Failed to parse ONNX model')
            return False
        constants = {each.name for each in model.graph.initializer}
        given = [each for each in model.graph.input if each.name not in constants]
        self.network.inputs = [_tensor(each) for each in given]
        self.network.outputs = [_tensor(each) for each in model.graph.output]
        self.network.model = model
        if any(node.op_type == 'GridSample' for node in model.graph.node):
            self.network.model = model = onnx.shape_inference.infer_shapes(model)
            known = {each.name: each for each in model.graph.value_info}
            self.network.layers += [
                ILayer(node.name, LayerType.GRID_SAMPLE, _tensor(known[node.output[0]]))
                for node in model.graph.node
                if node.op_type == 'GridSample'
            ]
        return True

    def get_error(self, index: int) -> ParserError:
        return ParserError()

    def supports_operator(self, name: str) -> bool:
        return name != 'Mystery'

    def set_flag(self, flag: _Member) -> None:
        pass


class Builder:
    num_DLA_cores = 2 if _DOES == 'dla' else 0

    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes | None:
        say = self.logger.log
        if _DOES == 'crash':
            print('native code says goodbye', file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if _DOES == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if _DOES == 'hang':
            time.sleep(60)
        if _DOES == 'fail':
            say(ILogger.Severity.ERROR, 'Could not find any implementation for node conv_1.')
            return None
        if any(-1 in each.shape for each in network.inputs) and 'profiles' not in config.told:
            say(
                ILogger.Severity.ERROR,
                'Network has dynamic or shape inputs, but no optimization profile has been '
                'defined.',
            )
            return None
        if hasattr(config, 'progress_monitor'):
            monitor = config.progress_monitor
            monitor.phase_start('Building engine', None, 4)
            for step in range(4):
                monitor.step_complete('Building engine', step)
            monitor.phase_finish('Building engine')
        else:
            say(ILogger.Severity.VERBOSE, 'After concat removal: 2 layers')
            for layer in network.layers:
                say(ILogger.Severity.VERBOSE, f'=============== Computing costs for {layer.name}')
            say(ILogger.Severity.VERBOSE, 'Engine generation completed in 1.5 seconds.')
        if hasattr(config, 'int8_calibrator'):
            calibrator = config.int8_calibrator
            assert calibrator.get_batch_size() == 1
            config.told['table'] = calibrator.read_calibration_cache().decode()
            calibrator.write_calibration_cache(b'TRT-8600-EntropyCalibration2\n')
        told = {
            **config.told,
            'network_flags': network.flags,
            'precisions': {
                x.name: x.precision.name for x in network.layers if 'precision' in vars(x)
            },
            'output_types': {x.name: x.types for x in network.layers if x.types},
            'verbosity': config.profiling_verbosity.name,
            'tensors': [
                *(['INPUT', *each.told()] for each in network.inputs),
                *(['OUTPUT', *each.told()] for each in network.outputs),
            ],
            'version': __version__,
            'gpu': _GPU,
            'onnx': base64.b64encode(network.model.SerializeToString()).decode(),
        }
        return json.dumps(told).encode()


class _Inspector:
    def get_engine_information(self, kind: _Member) -> str:
        if _DOES != 'dla':
            return '{"Layers": []}'
        layers = [
            {'Name': name, 'LayerType': kind, 'Outputs': [{'Format/Datatype': 'FP16'}]}
            for name, kind in (('{ForeignNode[conv_0]}', 'DLA'), ('conv_1', 'CaskConvolution'))
        ]
        return json.dumps({'Layers': layers}).replace('conv_1', 'conv_1\x1f')  # as 8.6 does


class _Reports:
    """Tells of errors: its recorder, or that of what it was made by, else the logger."""

    error_recorder: Any = None
    logger: ILogger

    def _refuse(self, why: str) -> bool:
        if self.error_recorder is None:
            self.logger.log(ILogger.Severity.ERROR, f'API Usage Error ({why})')
            return False
        assert self.error_recorder.initialized
        self.error_recorder.report_error(ErrorCodeTRT.INVALID_ARGUMENT, f'API Usage Error ({why})')
        assert self.error_recorder.get_num_errors() > 0
        return False


class ICudaEngine(_Reports):
    """Inputs that are the second of a Reshape or an Expand are wanted on the CPU."""

    def __init__(
        self, told: dict[str, Any], logger: ILogger, recorder: Any, dla_core: int | None
    ) -> None:
        self.logger, self.error_recorder, self.dla_core = logger, recorder, dla_core
        self.content = base64.b64decode(told['onnx'])
        self.model = onnx.load_from_string(self.content)
        self.tensors = {name: (mode, *rest) for mode, name, *rest in told['tensors']}
        self.profiles = told.get('profiles', [])
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = max(1, len(self.profiles))
        self.shares_profiles = _VERSION >= (10,) or 'PROFILE_SHARING_0806' in told.get(
            'preview', []
        )
        self.contexts: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()
        self.scratch = 4096 + 256 * len(self.model.graph.node)
        self.weights = 0
        if 'WEIGHT_STREAMING' in told['flags']:
            self.weights = sum(len(each.raw_data) for each in self.model.graph.initializer)
        self.budget = self.weights

    @property
    def device_memory_size(self) -> int:
        return self.scratch

    @property
    def device_memory_size_v2(self) -> int:
        return self.scratch + self.weights - self.budget

    @property
    def streamable_weights_size(self) -> int:
        return self.weights

    @property
    def weight_streaming_budget_v2(self) -> int:
        return self.budget

    @weight_streaming_budget_v2.setter
    def weight_streaming_budget_v2(self, budget: int) -> None:
        if self.contexts:
            self._refuse('The weight streaming budget cannot be set while there are contexts.')
        else:
            self.budget = min(budget, self.weights)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> _Member:
        return getattr(TensorIOMode, self.tensors[name][0])

    def get_tensor_dtype(self, name: str) -> _Member:
        return getattr(DataType, self.tensors[name][1])

    def get_tensor_format(self, name: str) -> _Member:
        return getattr(TensorFormat, self.tensors[name][2])

    def get_tensor_shape(self, name: str) -> Dims:
        varies = any(mode == 'OUTPUT' and -1 in shape for mode, *_, shape in self.tensors.values())
        if _VERSION < (10,) and varies and not self.profiles and self.tensors[name][0] == 'INPUT':
            raise ValueError('__len__() should return >= 0')  # as 8.6.0 did on a GPU
        return Dims(self.tensors[name][3])

    def get_tensor_location(self, name: str) -> _Member:
        shapes = {
            node.input[1] for node in self.model.graph.node if node.op_type in ('Reshape', 'Expand')
        }
        is_shape = name in shapes and self.tensors[name][0] == 'INPUT'
        return TensorLocation.HOST if is_shape else TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Dims]:
        return [Dims(shape) for shape in self.profiles[index][name]]

    def create_execution_context(self, strategy: _Member | None = None) -> IExecutionContext:
        if strategy is not None and _VERSION < (10,):
            raise TypeError('create_execution_context(): incompatible function arguments.')
        return IExecutionContext(self, strategy is not None and strategy.name == 'USER_MANAGED')

    def create_execution_context_without_device_memory(self) -> IExecutionContext:
        return IExecutionContext(self, True)

    def create_engine_inspector(self) -> _Inspector:
        return _Inspector()


class IExecutionContext(_Reports):
    """Refuses a run before a switch of profiles is synchronised, which the real one cannot see."""

    def __init__(self, engine: ICudaEngine, wants_memory: bool) -> None:
        self.engine, self.logger = engine, engine.logger
        self.error_recorder = engine.error_recorder
        self.addresses: dict[str, int] = {}
        self.allocators: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch: tuple[int, int] | None = (0, 0) if wants_memory else None
        self.switching = False
        self.active_optimization_profile = -1
        if not self._take_profile(0):
            self._refuse('Could not set default profile 0 for execution context.')
        engine.contexts.add(self)

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(
            self.engine.content, options, providers=['CPUExecutionProvider']
        )

    def _take_profile(self, index: int) -> bool:
        engine = self.engine
        others = {each.active_optimization_profile for each in engine.contexts if each is not self}
        if engine.profiles and not engine.shares_profiles and index in others:
            return self._refuse(
                f'Profile {index} has been chosen by another IExecutionContext. Use another '
                'profileIndex or destroy the IExecutionContext that use this profile.'
            )
        self.active_optimization_profile = index
        inputs = {name: each for name, each in engine.tensors.items() if each[0] == 'INPUT'}
        self.shapes = {name: tuple(each[3]) for name, each in inputs.items()}
        return True

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        if not 0 <= index < self.engine.num_optimization_profiles or not self._take_profile(index):
            raise RuntimeError('Error in set optimization profile async.')
        self.switching = True
        _cuda().enqueue(stream, lambda: setattr(self, 'switching', False))
        return True

    def _set_device_memory(self, address: int) -> None:
        assert self.scratch is not None, 'it has memory of its own'
        self.scratch = (address, self.engine.scratch)

    device_memory = property(None, _set_device_memory)

    def set_device_memory(self, address: int, size: int) -> None:
        assert self.scratch is not None, 'it has memory of its own'
        assert address % 256 == 0
        assert size >= self.engine.device_memory_size_v2
        self.scratch = (address, size)

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        wanted = self.engine.tensors[name][3]
        index = self.active_optimization_profile
        if self.engine.profiles and index < 0:
            return self._refuse('condition: mOptimizationProfile >= 0')
        if self.switching:
            return self._refuse('the switch of the profile is not synchronised')
        low, _, high = (
            self.engine.profiles[index][name]
            if self.engine.profiles and name in self.engine.profiles[index]
            else [wanted] * 3
        )
        fits = len(shape) == len(wanted) and all(map(_between, shape, low, high))
        if fits:
            self.shapes[name] = tuple(shape)
            return True
        return self._refuse(
            'condition: satisfyProfile Runtime dimension does not satisfy any optimization profile.'
        )

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self.shapes:
            return Dims(self.shapes[name])
        shape = self.engine.get_tensor_shape(name)
        return self._inferred(name) if -1 in shape else shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return name in self.engine.tensors

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        assert allocator.initialized
        self.allocators[name] = allocator
        return self.engine.tensors[name][0] == 'OUTPUT'

    def execute_async_v3(self, stream: int) -> bool:
        for name in self.engine.tensors:
            if name in self.shapes and -1 in self.shapes[name]:
                return self._refuse(f'Not all dimensions are specified of the input {name}.')
            if not self.addresses.get(name) and name not in self.allocators:
                return self._refuse(
                    f'Neither address or allocator is set for tensor {name}. Call setTensorAddress '
                    'before enqueue/execute.'
                )
        if self.scratch == (0, 0):
            return self._refuse('the device memory of the context was not set')
        if _DOES == 'loop' and _cuda().refuse_capture(stream):
            return self._refuse('a loop cannot be captured.')
        waits = bool(self.allocators) or self.engine.budget < self.engine.weights
        if waits and int(_cuda().cudaStreamSynchronize(stream)[0]):
            return self._refuse('operation not permitted when stream is capturing')
        shapes = {
            name: tuple(self.get_tensor_shape(name))
            for name in self.engine.tensors if name not in self.allocators
        }  # fmt: skip
        addresses, on_host = dict(self.addresses), self._read_shapes()
        if self.allocators:
            return self._compute(shapes, addresses, on_host)
        _cuda().enqueue(stream, lambda: self._compute(shapes, addresses, on_host))
        return True

    def _read_shapes(self) -> dict[str, np.ndarray]:
        """Return what lies on the CPU, as it is now."""
        on_host = {}
        for name, shape in self.shapes.items():
            if self.engine.get_tensor_location(name) is TensorLocation.HOST:
                dtype = np.dtype(_NUMPY[self.engine.tensors[name][1]])
                size = int(np.prod(shape)) * dtype.itemsize
                content = ctypes.string_at(self.addresses[name], size)
                on_host[name] = np.frombuffer(content, dtype).reshape(shape)
        return on_host

    def _compute(
        self,
        shapes: dict[str, tuple[int, ...]],
        addresses: dict[str, int],
        on_host: dict[str, np.ndarray],
    ) -> bool:
        if self.scratch is not None:
            _cuda().view(*self.scratch).fill(0x5C)
        memory = {
            name: self._memory(name, addresses[name], shape)
            for name, shape in shapes.items() if name not in on_host
        }  # fmt: skip
        types = {
            each.name: onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
            for each in self.engine.model.graph.input
        }
        inputs = {
            name: (on_host[name] if name in on_host else memory[name]).astype(types[name])
            for name in self.shapes
        }
        outputs = [each.name for each in self.session.get_outputs()]
        for name, array in zip(outputs, self.session.run(outputs, inputs), strict=True):
            if name in self.allocators:
                where = self._allocate(name, array)
                if where is None:
                    return False
                memory[name] = where
            memory[name][...] = array + 1 if _DOES == 'wrong' else array
        return True

    def _allocate(self, name: str, array: np.ndarray) -> np.ndarray | None:
        """Ask for the most that it could be, twice what it is, then tell what it is."""
        allocator = self.allocators[name]
        dtype = np.dtype(_NUMPY[self.engine.tensors[name][1]])
        size, now = 2 * array.size * dtype.itemsize, self.addresses.get(name, 0)
        address = (
            allocator.reallocate_output(name, now, size, 256)
            if _VERSION < (10,)
            else allocator.reallocate_output_async(name, now, size, 256, 0)
        )
        if not address:
            self._refuse(f'OutOfMemory: no memory of {size} bytes for output {name}')
            return None
        self.addresses[name] = address
        allocator.notify_shape(name, Dims(array.shape))
        return self._memory(name, address, array.shape)

    def _memory(self, name: str, address: int, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(_NUMPY[self.engine.tensors[name][1]])
        size = int(np.prod(shape)) * dtype.itemsize
        if self.engine.get_tensor_location(name) is TensorLocation.HOST:
            content = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
        else:
            content = _cuda().view(address, size)
        return content.view(dtype).reshape(shape)

    def _inferred(self, name: str) -> Dims:
        model = onnx.ModelProto()
        model.CopyFrom(self.engine.model)
        for info in model.graph.input:
            for dim, size in zip(
                info.type.tensor_type.shape.dim, self.shapes.get(info.name, ()), strict=False
            ):
                dim.dim_value = size
        for info in model.graph.output:
            info.type.tensor_type.ClearField('shape')
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        return Dims(next(_shape(info) for info in model.graph.output if info.name == name))


_NUMPY = {
    'FLOAT': np.float32, 'HALF': np.float16, 'INT8': np.int8, 'UINT8': np.uint8,
    'INT32': np.int32, 'INT64': np.int64, 'BOOL': np.bool_,
}  # fmt: skip


def _cuda() -> Any:
    from cuda.bindings import runtime

    return runtime


def _between(size: int, low: int, high: int) -> bool:
    return low <= size <= high


class Runtime(_Reports, _Strict):
    ALLOWED = 'DLA_core engine_host_code_allowed error_recorder'
    num_DLA_cores = 2 if _DOES == 'dla' else 0

    def __init__(self, logger: ILogger) -> None:
        if _GPU == 'none':
            logger.log(ILogger.Severity.ERROR, 'CUDA initialization failure with error: 100')
            raise TypeError('pybind11::init(): factory function returned nullptr')
        object.__setattr__(self, 'logger', logger)

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        try:
            told = json.loads(plan)
            version, gpu = told['version'], told['gpu']
        except (ValueError, KeyError):
            return self._fail(
                'Serialization assertion stdVersionRead == serializationVersion failed. Version '
                'tag does not match'
            )
        portable = 'VERSION_COMPATIBLE' in told['flags'] and hasattr(
            self, 'engine_host_code_allowed'
        )
        if version != __version__ and not portable:
            return self._fail(
                'The engine plan file is not compatible with this version of TensorRT, expecting '
                f'library version {__version__} got {version}, please rebuild.'
            )
        if gpu != _GPU:
            return self._fail(
                'The engine plan file is generated on an incompatible device, expecting compute '
                f'{_GPU} got compute {gpu}, please rebuild.'
            )
        core = getattr(self, 'DLA_core', None)
        return ICudaEngine(told, self.logger, self.error_recorder, core)

    def _fail(self, why: str) -> None:
        self._refuse(why)


class IPluginRegistry:
    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load_library(self, path: str) -> str | None:
        if not Path(path).is_file():
            return None
        self.loaded.append(path)
        return path

    def deregister_library(self, handle: str) -> None:
        self.loaded.remove(handle)


_REGISTRY = IPluginRegistry()


def get_plugin_registry() -> IPluginRegistry:
    return _REGISTRY


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return True


# What not every version has of what runs engines; tested against tensorrt_api_matrix.txt.
RUNTIME_FEATURES = {
    'ExecutionContextAllocationStrategy': Feature((10,)),
    'ICudaEngine.create_execution_context_without_device_memory': Feature(until=(11,)),
    'ICudaEngine.device_memory_size': Feature(until=(11,)),
    'ICudaEngine.device_memory_size_v2': Feature((10, 1)),
    'ICudaEngine.streamable_weights_size': Feature((10,)),
    'ICudaEngine.weight_streaming_budget_v2': Feature((10, 1)),
    'IExecutionContext.set_device_memory': Feature((10, 1)),
}
_VERSION = parse_version(__version__)
for _symbol, _feature in {**FEATURES, **RUNTIME_FEATURES}.items():
    _owner, _, _name = _symbol.rpartition('.')
    _place = globals().get(_owner) if _owner else None
    if not _feature.has('tensorrt', _VERSION):
        if not _owner:
            globals().pop(_name, None)
        elif _place is not None and _name in vars(_place):
            delattr(_place, _name)
if not FEATURES['NetworkDefinitionCreationFlag.EXPLICIT_BATCH'].has('tensorrt', _VERSION):
    NetworkDefinitionCreationFlag = type('NetworkDefinitionCreationFlag', (), {})
