# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Each failure that TensorRT is known for has an answer, and both ways of telling it are heard."""

from __future__ import annotations

import importlib
import re

import pytest

from trt_engine.backends.tensorrt_answers import answer_to
from trt_engine.backends.tensorrt_answers import ANSWERS
from trt_engine.backends.tensorrt_answers import is_foreign
from trt_engine.backends.tensorrt_answers import with_answers
from trt_engine.backends.tensorrt_hearing import Hearing

REBUILD = 'ros2 run trt_builder trt_build --force'
# As TensorRT writes them: reference/tensorrt.md section 8, and issues of NVIDIA/TensorRT.
SAID = [
    (
        'IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is '
        'not compatible with this version of TensorRT, expecting library version 10.12.0.36 got .)',
        'built with another version of TensorRT', True,
    ),
    (
        '1: [stdArchiveReader.cpp::StdArchiveReader::40] Error Code 1: Serialization '
        '(Serialization assertion stdVersionRead == serializationVersion failed.Version tag does '
        'not match. Note: Current Version: 213, Serialized Engine Version: 205)',
        'cut short or damaged', True,
    ),
    (
        '1: [stdArchiveReader.cpp::StdArchiveReader::35] Error Code 1: Serialization '
        '(Serialization assertion safeVersionRead == safeSerializationVersion failed.Version tag '
        'does not match. Note: Current Version: 0, Serialized Engine Version: 43)',
        'cut short or damaged', True,
    ),
    (
        'Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.'
        'Magic tag does not match)',
        'cut short or damaged', True,
    ),
    (
        'The engine plan file is generated on an incompatible device, expecting compute 8.6 got '
        'compute 7.5, please rebuild.',
        'built for another GPU', True,
    ),
    (
        'Using an engine plan file across different models of devices is not recommended and is '
        'likely to affect performance or even cause errors.',
        'on another model of GPU', False,
    ),
    (
        '[pluginV2Runner.cpp::load::303] Error Code 1: Serialization (Serialization assertion '
        'creator failed.Cannot deserialize plugin since corresponding IPluginCreator not found in '
        'Plugin Registry)',
        'build.plugins', False,
    ),
    ('getPluginCreator could not find plugin: MyNms version: 1', 'build.plugins', False),
    ('[defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)',
     'not enough memory', False),
    ('2: [executionContext.cpp::ExecutionContext::436] Error Code 2: OutOfMemory (no further '
     'information)', 'not enough memory', False),
    ('Requested amount of GPU memory (1073741824 bytes) could not be allocated. There may not be '
     'enough free memory for allocation to succeed.', 'not enough memory', False),
    ('CUDA initialization failure with error: 35', 'the driver is older', False),
    ('IRuntime::deserializeCudaEngine: Error Code 1: Cuda Runtime (In ScopedCudaStream at '
     '/_src/common/dispatch/cudaResources.cpp:25 (cudaError 35: CUDA driver version is '
     'insufficient for CUDA runtime version))', 'the driver is older', False),
    ('Profile 0 has been chosen by another IExecutionContext. Use another profileIndex or destroy '
     'the IExecutionContext that use this profile.', 'a profile for each context', False),
    ('Could not set default profile 0 for execution context. Profile index must be set explicitly.',
     'no profile of the engine to itself', False),
    ('Parameter check failed at: engine.cpp::enqueueV2::545, condition: mOptimizationProfile >= 0',
     'no profile of the engine to itself', False),
    ('3: [executionContext.cpp::setInputShape::2068] Error Code 3: API Usage Error (Parameter '
     'check failed at: runtime/api/executionContext.cpp::setInputShape::2068, condition: '
     'satisfyProfile Runtime dimension does not satisfy any optimization profile.)',
     'widen build.profiles', False),
    ('Error Code 3: API Usage Error (Not all dimensions are specified of the input x.)',
     'has no shape yet', False),
    ('Neither address or allocator is set for output tensor y. Call setOutputTensorAddress, '
     'setTensorAddress or setOutputAllocator before enqueue/execute.', 'has no memory', False),
    ('Cannot create DLA engine, 0 not available', '16 loadables', False),
    ('operation not permitted when stream is capturing', 'without a graph', False),
    ('Error Code 1: Cuda Runtime (an illegal memory access was encountered)',
     'must be started anew', False),
    ('The logger passed into createInferRuntime differs from one already provided for an existing '
     'builder, runtime, or refitter.', 'the first logger', False),
]  # fmt: skip


@pytest.mark.parametrize(('line', 'wanted', 'foreign'), SAID)
def test_a_failure_is_answered(line, wanted, foreign):
    text = with_answers('engine.plan: cannot load this engine', [line])
    assert text.startswith(f'engine.plan: cannot load this engine; TensorRT says: {line}. ')
    assert wanted in text
    assert is_foreign([line]) is foreign
    if foreign:
        assert REBUILD in text


def test_every_answer_is_given_to_some_failure():
    given = {answer_to(line) for line, *_ in SAID}
    assert [each.pattern for each in ANSWERS if each not in given] == []


def test_an_answer_is_given_once_and_words_without_one_are_kept():
    lines = [SAID[1][0], SAID[2][0], 'Internal Error (Engine deserialization failed.)']
    text = with_answers('it failed', lines)
    assert all(line in text for line in lines)
    assert text.count('cut short or damaged') == 1
    assert answer_to(lines[2]) is None
    assert with_answers('it failed', []) == 'it failed'
    assert with_answers('it failed', ['strange'], 'Do this') == (
        'it failed; TensorRT says: strange. Do this'
    )


class Library:
    """What of TensorRT hears."""

    class ILogger:
        def __init__(self):
            self.severity = None

    class IErrorRecorder:
        def __init__(self):
            self.fatal = False


class Severity:
    def __init__(self, name):
        self.name = name


def test_lines_since_a_mark_are_those_of_this_call_each_once():
    heard = Hearing(Library)
    heard.logger.log(Severity('ERROR'), 'of before')
    mark = heard.mark()
    assert heard.since(mark) == []
    heard.logger.log(Severity('INFO'), 'no error')
    heard.logger.log(Severity('WARNING'), 'nothing known')
    heard.logger.log(Severity('WARNING'), SAID[5][0])
    assert heard.recorder.report_error('INVALID_STATE', 'broken (here)') is False
    heard.logger.log(Severity('INTERNAL_ERROR'), 'broken')
    assert heard.since(mark) == [SAID[5][0], 'broken (here)']
    for number in range(9):
        heard.recorder.report_error('INVALID_STATE', f'error {number}')
    assert heard.since(mark) == [f'error {number}' for number in range(4, 9)]


def test_the_recorder_counts_as_tensorrt_asks_it_to():
    recorder = Hearing(Library).recorder
    recorder.report_error(3, 'one')
    recorder.report_error(4, 'two')
    assert recorder.num_errors() == recorder.get_num_errors() == 2
    assert (recorder.get_error_code(1), recorder.get_error_desc(0)) == (4, 'one')
    assert not recorder.has_overflowed()
    for _ in range(100):
        recorder.report_error(4, 'more')
    assert recorder.has_overflowed()
    recorder.clear()
    assert recorder.num_errors() == 0


def test_a_real_library_reports_to_the_recorder(capfd):
    """TensorRT-RTX has a runtime also where there is no GPU."""
    library = pytest.importorskip('tensorrt_rtx_bindings')
    importlib.import_module('tensorrt_rtx_libs')
    heard = Hearing(library)
    runtime = library.Runtime(heard.logger)
    runtime.error_recorder = heard.recorder
    mark = heard.mark()
    assert runtime.deserialize_cuda_engine(b'no engine' * 100) is None
    assert any(re.search(r'[Ss]erializ|not compatible', line) for line in heard.since(mark))
    assert heard.recorder.num_errors() > 0
    assert 'Exception caught' not in capfd.readouterr().err
