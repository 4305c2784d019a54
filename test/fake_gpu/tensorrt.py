# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for TensorRT's module, in any version: what that version lacks is not there.

FAKE_TENSORRT says which, and what its builder does, such as `8.6.0 build` or `10.3.0 crash`.
Attributes can be set where the real classes have them, and nowhere else. What was set is in the
plan, as JSON, and the ONNX file with it: an engine computes through ONNX Runtime. It refuses what
the real one refuses, in the same words.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cached_property
import json
import os
from pathlib import Path
import signal
import sys
import time
from typing import Any

from google.protobuf.message import DecodeError
import numpy as np
import onnx
import onnxruntime

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
    'REFIT REFIT_IDENTICAL STRIP_PLAN SPARSE_WEIGHTS VERSION_COMPATIBLE',
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


class ICudaEngine:
    def __init__(self, told: dict[str, Any], logger: ILogger, dla_core: int | None) -> None:
        self.logger, self.dla_core = logger, dla_core
        self.content = base64.b64decode(told['onnx'])
        self.model = onnx.load_from_string(self.content)
        self.tensors = {name: (mode, *rest) for mode, name, *rest in told['tensors']}
        self.profiles = told.get('profiles', [])
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> _Member:
        return getattr(TensorIOMode, self.tensors[name][0])

    def get_tensor_dtype(self, name: str) -> _Member:
        return getattr(DataType, self.tensors[name][1])

    def get_tensor_format(self, name: str) -> _Member:
        return getattr(TensorFormat, self.tensors[name][2])

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self.tensors[name][3])

    def get_tensor_location(self, name: str) -> _Member:
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Dims]:
        return [Dims(shape) for shape in self.profiles[index][name]]

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)

    def create_engine_inspector(self) -> _Inspector:
        return _Inspector()


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shapes = {
            name: tuple(each[3]) for name, each in engine.tensors.items() if each[0] == 'INPUT'
        }

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(
            self.engine.content, options, providers=['CPUExecutionProvider']
        )

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        wanted = self.engine.tensors[name][3]
        low, _, high = (
            self.engine.profiles[0][name]
            if self.engine.profiles and name in self.engine.profiles[0]
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

    def execute_async_v3(self, stream: int) -> bool:
        for name in self.engine.tensors:
            if name in self.shapes and -1 in self.shapes[name]:
                return self._refuse(f'Not all dimensions are specified of the input {name}.')
            if not self.addresses.get(name):
                return self._refuse(
                    f'Neither address or allocator is set for tensor {name}. Call setTensorAddress '
                    'before enqueue/execute.'
                )
        if _DOES == 'loop' and _cuda().refuse_capture(stream):
            return self._refuse('a loop cannot be captured.')
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in self.engine.tensors}
        addresses = dict(self.addresses)
        _cuda().enqueue(stream, lambda: self._compute(shapes, addresses))
        return True

    def _compute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        memory = {name: self._memory(name, addresses[name], shapes[name]) for name in shapes}
        types = {
            each.name: onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
            for each in self.engine.model.graph.input
        }
        inputs = {name: memory[name].astype(types[name]) for name in self.shapes}
        outputs = [each.name for each in self.session.get_outputs()]
        for name, array in zip(outputs, self.session.run(outputs, inputs), strict=True):
            memory[name][...] = array + 1 if _DOES == 'wrong' else array

    def _memory(self, name: str, address: int, shape: tuple[int, ...]) -> np.ndarray:
        dtype = np.dtype(_NUMPY[self.engine.tensors[name][1]])
        size = int(np.prod(shape)) * dtype.itemsize
        return _cuda().view(address, size).view(dtype).reshape(shape)

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

    def _refuse(self, why: str) -> bool:
        self.engine.logger.log(ILogger.Severity.ERROR, f'API Usage Error (Parameter check: {why})')
        return False


_NUMPY = {
    'FLOAT': np.float32, 'HALF': np.float16, 'INT8': np.int8, 'UINT8': np.uint8,
    'INT32': np.int32, 'INT64': np.int64, 'BOOL': np.bool_,
}  # fmt: skip


def _cuda() -> Any:
    from cuda.bindings import runtime

    return runtime


def _between(size: int, low: int, high: int) -> bool:
    return low <= size <= high


class Runtime(_Strict):
    ALLOWED = 'DLA_core engine_host_code_allowed'
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
            return self._refuse(
                'Serialization assertion stdVersionRead == serializationVersion failed. Version '
                'tag does not match'
            )
        portable = 'VERSION_COMPATIBLE' in told['flags'] and hasattr(
            self, 'engine_host_code_allowed'
        )
        if version != __version__ and not portable:
            return self._refuse(
                'The engine plan file is not compatible with this version of TensorRT, expecting '
                f'library version {__version__} got {version}, please rebuild.'
            )
        if gpu != _GPU:
            return self._refuse(
                'The engine plan file is generated on an incompatible device, expecting compute '
                f'{_GPU} got compute {gpu}, please rebuild.'
            )
        return ICudaEngine(told, self.logger, getattr(self, 'DLA_core', None))

    def _refuse(self, why: str) -> None:
        self.logger.log(ILogger.Severity.ERROR, why)


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


_VERSION = parse_version(__version__)
for _symbol, _feature in FEATURES.items():
    _owner, _, _name = _symbol.rpartition('.')
    _place = globals().get(_owner) if _owner else None
    if not _feature.has('tensorrt', _VERSION):
        if not _owner:
            globals().pop(_name, None)
        elif _place is not None and _name in vars(_place):
            delattr(_place, _name)
if not FEATURES['NetworkDefinitionCreationFlag.EXPLICIT_BATCH'].has('tensorrt', _VERSION):
    NetworkDefinitionCreationFlag = type('NetworkDefinitionCreationFlag', (), {})
