# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The table against what the bindings of twelve versions hold, and our calls against the table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trt_builder.compat import describe
from trt_builder.compat import FEATURES
from trt_builder.compat import find
from trt_builder.compat import has
from trt_builder.compat import parse_version
from trt_builder.compat import require
from trt_engine.errors import BuildRefusedError

SOURCE = Path(__file__).parents[2] / 'src/trt_builder/trt_builder/tensorrt_build.py'

# not in the matrix: looked up in the bindings 8.6.1, the stubs 10.13 and TensorRT-RTX 1.7.1
IN_EVERY_VERSION = {
    'IBuilderConfig.can_run_on_DLA',  # in all of 8.6 to 11.4, as the facts' section 1c says
    'INetworkDefinition.mark_output',  # no version's matrix has it; used on 8.6, and since 1.0
    'Builder', 'Dims', 'Builder.create_builder_config', 'Builder.create_network',
    'Builder.create_optimization_profile', 'DeviceType', 'IBuilderConfig.add_optimization_profile',
    'IBuilderConfig.clear_flag', 'IBuilderConfig.set_flag', 'ILayer.get_output', 'ILayer.name',
    'ILayer.num_outputs', 'ILayer.type', 'ILogger', 'INetworkDefinition.get_input',
    'INetworkDefinition.get_layer', 'INetworkDefinition.get_output',
    'INetworkDefinition.num_inputs', 'INetworkDefinition.num_layers',
    'INetworkDefinition.num_outputs', 'IOptimizationProfile.set_shape', 'ITensor.allowed_formats',
    'ITensor.dtype', 'ITensor.name', 'ITensor.shape', 'ITimingCache.serialize', 'OnnxParser',
    'OnnxParser.get_error', 'OnnxParser.num_errors', 'OnnxParser.supports_operator',
    'ParserError.desc', 'Runtime', '__version__',
}  # fmt: skip
# classes whose members are looked up by name, one by one, with an error for what is missing
ENUMS = {
    'BuilderFlag', 'DataType', 'DeviceType', 'HardwareCompatibilityLevel', 'LayerInformationFormat',
    'LayerType', 'MemoryPoolType', 'OnnxParserFlag', 'ProfilingVerbosity', 'TacticSource',
    'TensorFormat',
}  # fmt: skip
# how the source calls objects of TensorRT
OWNERS = {
    'builder': 'Builder', 'config': 'IBuilderConfig', 'network': 'INetworkDefinition',
    'parser': 'OnnxParser', 'problem': 'ParserError', 'profile': 'IOptimizationProfile',
    'tensor': 'ITensor', 'layer': 'ILayer', 'runtime': 'Runtime', 'engine': 'ICudaEngine',
    'inspector': 'EngineInspector', 'cache': 'ITimingCache',
}  # fmt: skip
# not in the matrix either; the newest bindings that lack them and the oldest that have them
BESIDE_MATRIX = {'IInt8LegacyCalibrator', 'ParserError.node_operator'}


@pytest.fixture(scope='module')
def matrix(data) -> dict[str, dict[tuple[int, ...], bool]]:
    path = data.parent / 'reference' / 'tensorrt_api_matrix.txt'
    if not path.is_file():
        pytest.skip('the matrix of TensorRT names is not beside the test data')
    header, *lines = path.read_text().splitlines()
    versions = [parse_version(text) for text in header.split()]
    assert len(versions) == 12
    rows = (line.split() for line in lines if line.strip())
    return {
        name: dict(zip(versions, (mark != '-' for mark in marks), strict=True))
        for name, *marks in rows
    }


def test_the_table_says_what_the_bindings_hold(matrix):
    assert {name for name in FEATURES if name not in matrix} == BESIDE_MATRIX
    for name in FEATURES.keys() - BESIDE_MATRIX:
        for version, there in matrix[name].items():
            assert has(name, 'tensorrt', version) == there, (name, version)


def symbols() -> set[str]:
    """Return every name of TensorRT that the source uses, as the matrix writes them."""
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, 'id', '')
            if name == 'library':
                found.add(node.attr)
            elif name in OWNERS:
                found.add(f'{OWNERS[name]}.{node.attr}')
        elif isinstance(node, ast.Call):
            called = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
            texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if called == 'find' and texts:
                found.add(texts[0])
            elif called == '_enum':
                found.add('.'.join(texts[:2]))
    return found


def test_every_name_that_we_use_exists_everywhere_or_is_guarded_by_the_table(matrix):
    used = symbols()
    assert {'IBuilderConfig.progress_monitor', 'Builder.build_serialized_network'} <= used
    assert len(used) > 50
    everywhere = {name for name, versions in matrix.items() if all(versions.values())}

    unknown = used - everywhere - FEATURES.keys() - IN_EVERY_VERSION - ENUMS

    members = {name for name in unknown if name.partition('.')[0] in ENUMS}
    assert unknown <= members
    assert members <= {
        'DeviceType.DLA', 'LayerInformationFormat.JSON', 'LayerType.CONSTANT',
    }  # fmt: skip


def test_a_planted_name_would_be_caught(matrix, tmp_path, monkeypatch):
    planted = tmp_path / 'planted.py'
    planted.write_text('def f(self, config):\n    config.max_workspace_size = 1\n')
    monkeypatch.setitem(globals(), 'SOURCE', planted)

    (name,) = symbols()

    assert name == 'IBuilderConfig.max_workspace_size'
    assert not all(matrix[name].values())
    assert name not in FEATURES


@pytest.mark.parametrize(
    ('symbol', 'flavour', 'version', 'wanted'),
    [
        ('IInt8EntropyCalibrator2', 'tensorrt', '11.4.0', 'TensorRT <= 10.16, found 11.4.0; put Q'),
        ('BuilderFlag.FP16', 'tensorrt_rtx', '1.7.1', 'TensorRT <= 10.16, found TensorRT-RTX'),
        ('BuilderFlag.BF16', 'tensorrt', '8.6.2', 'TensorRT 10.0 to 10.16, found 8.6.2; use fp16'),
        ('IProgressMonitor', 'tensorrt', '8.6.1.6', 'TensorRT >= 10.0, found 8.6.1'),
        (
            'HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY', 'tensorrt', '10.8.0',
            'TensorRT >= 10.9, found 10.8.0; set hardware_compatibility',
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_the_versions_that_have_it(symbol, flavour, version, wanted):
    with pytest.raises(BuildRefusedError) as caught:
        require(symbol, flavour, parse_version(version), 'this')
    assert f'this needs {wanted}' in str(caught.value)


def test_the_caller_can_say_what_to_do():
    with pytest.raises(BuildRefusedError) as caught:
        require(
            'IInt8EntropyCalibrator2', 'tensorrt', (11, 4), 'INT8 by calibrator',
            "the card's Q/DQ route works here",
        )  # fmt: skip
    assert str(caught.value) == (
        "INT8 by calibrator needs TensorRT <= 10.16, found 11.4; the card's Q/DQ route works here"
    )


def test_names_that_are_not_in_the_table_exist_everywhere():
    assert has('BuilderFlag.REFIT', 'tensorrt', (8, 6, 1))
    require('BuilderFlag.REFIT', 'tensorrt_rtx', (1, 7), 'refit')


@pytest.mark.parametrize(
    ('text', 'numbers'),
    [('10.3.0.30', (10, 3, 0, 30)), ('8.6.2.3', (8, 6, 2, 3)), ('11.4', (11, 4)),
     ('10.13.3.9+cuda13', (10, 13, 3, 9))],
)  # fmt: skip
def test_versions_are_read(text, numbers):
    assert parse_version(text) == numbers


@pytest.mark.parametrize('text', ['', 'ten', 'v10'])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(BuildRefusedError, match='no version'):
        parse_version(text)


def test_find_looks_through_dots_and_gives_none_for_what_is_not_there():
    assert find(ast, 'NodeVisitor.visit') is ast.NodeVisitor.visit
    assert find(ast, 'NodeVisitor.fly.high') is None
    assert find(ast, 'Nothing') is None


def test_describe_is_short():
    assert describe('tensorrt', (10, 3, 0, 30)) == 'TensorRT 10.3.0'
    assert describe('tensorrt_rtx', (1, 7, 1, 116)) == 'TensorRT-RTX 1.7.1'
