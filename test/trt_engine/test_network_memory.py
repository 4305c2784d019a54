# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a network takes: a loaded engine, one of the store by its log, and one not yet built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.backends import open_backend
from trt_engine.build_settings import Build
from trt_engine.build_settings import ShapeRange
from trt_engine.build_settings import TensorFormat
from trt_engine.card import load_card
from trt_engine.entry import Entry
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.memory.budget import Assumptions
from trt_engine.memory.machine import MIB
from trt_engine.memory.network import built_memory
from trt_engine.memory.network import input_shapes
from trt_engine.memory.network import largest_batch
from trt_engine.memory.network import loaded_memory
from trt_engine.memory.network import onnx_memory
from trt_engine.model_file import resolve_model
from trt_engine.platform import Platform
from trt_engine.store import Store

# of the demo network: one image in, 1680 candidates of 11 numbers out
IO_BYTES = (3 * 256 * 320 + 1680 * 11) * 4
LOGS = {
    '8.6': '[INFO] Total Device Persistent Memory: 5120\n[INFO] Total Scratch Memory: 0\n'
    '[INFO] Total Activation Memory: 2457600\n',
    '10.3': '[INFO] Total Device Persistent Memory: 0 bytes\n[INFO] Max Scratch Memory: 512 bytes\n'
    '[INFO] Total Activation Memory: 2457600 bytes\n[INFO] Total Weights Memory: 752640 bytes\n',
}  # fmt: skip


@pytest.fixture
def card():
    return load_card('demo')


@pytest.fixture
def keep(tmp_path, card):
    """Return a function that puts an engine with a log into a store."""

    def put(log: str) -> Entry:
        ingredients = Ingredients.collect(
            card, resolve_model(card), flavour='tensorrt', facts=Platform()
        )
        manifest = Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0)
        return Store(tmp_path / 'store').put(manifest, b'x' * 1000, log=log)

    return put


def figures(network):
    return {(part.what, part.side): (part.nbytes, part.basis) for part in network.parts}


@pytest.mark.parametrize('version', ['8.6.1', '10.0.1', '10.3.0', '11.4.0'])
def test_a_loaded_engine_tells_its_own_figures(fake_gpu, tmp_path, card, version):
    fake_gpu(version)
    numbers = tuple(int(part) for part in version.split('.'))
    resolved = Resolved('tensorrt', numbers, 'fp32', strongly_typed=numbers >= (11,))
    plan = tmp_path / 'engine.plan'
    output = build(resolved, resolve_model(card), report=lambda *_: None, log=lambda *_: None)
    plan.write_bytes(output.plan)
    backend = open_backend('tensorrt', plan)
    network = loaded_memory('demo', backend)
    assert figures(network) == {
        ('weights', 'device'): (len(output.plan), 'bound'),
        ('activations', 'device'): (4096 + 256 * 200, 'exact'),  # as the stand-in has it, by nodes
        ('inputs and outputs', 'device'): (IO_BYTES, 'exact'),
        ('inputs and outputs', 'host'): (IO_BYTES, 'exact'),
    }
    assert all(part.held for part in network.parts)
    backend.close()


def test_an_engine_of_the_store_takes_what_its_build_said(keep, card):
    told = figures(built_memory('demo', card, resolve_model(card), keep(LOGS['10.3'])))
    assert told == {
        ('weights', 'device'): (752640, 'exact'),
        ('activations', 'device'): (2457600, 'exact'),
        ('state of kernels', 'device'): (0, 'exact'),
        ('inputs and outputs', 'device'): (IO_BYTES, 'exact'),
        ('inputs and outputs', 'host'): (IO_BYTES, 'exact'),
    }


def test_where_the_build_did_not_tell_of_weights_the_engine_file_bounds_them(keep, card):
    told = figures(built_memory('demo', card, resolve_model(card), keep(LOGS['8.6'])))
    assert told['weights', 'device'] == (1000, 'bound')
    assert told['state of kernels', 'device'] == (5120, 'exact')


def test_an_engine_whose_log_says_nothing_is_planned_as_if_it_were_not_there(keep, card):
    onnx = resolve_model(card)
    assumptions = Assumptions(scratch_mib=7)
    silent = built_memory('demo', card, onnx, keep('imported\n'), assumptions=assumptions)
    assert silent == onnx_memory('demo', card, onnx, assumptions=assumptions)


@pytest.mark.parametrize(('precision', 'size'), [('fp32', 4), ('fp16', 2), ('int8', 1)])
def test_weights_follow_the_precision_and_activations_stay_a_bound(card, precision, size):
    changed = replace(card, build=Build(precision=precision))
    told = figures(onnx_memory('demo', changed, resolve_model(card)))
    assert told['weights', 'device'] == (376345 * size + 72, 'estimate')
    assert told['activations', 'device'][1] == 'bound'
    assert told['scratch of kernels', 'device'] == (64 * MIB, 'assumed')


def test_the_cards_limit_of_the_workspace_bounds_the_scratch(card):
    changed = replace(card, build=Build(memory_mib={'workspace': 200}))
    told = figures(onnx_memory('demo', changed, resolve_model(card)))
    assert told['scratch of kernels', 'device'] == (200 * MIB, 'bound')


def test_types_of_inputs_and_outputs_are_those_of_the_build(card):
    changed = replace(card, build=Build(io={'output': TensorFormat('fp16')}))
    network = onnx_memory('demo', changed, resolve_model(card))
    assert [info.dtype for info in network.tensors] == [np.float32, np.float16]
    assert figures(network)['inputs and outputs', 'device'][0] == IO_BYTES - 1680 * 11 * 2


def test_activations_are_for_the_largest_profile():
    ranges = [ShapeRange((1, 3, 8, 8), (1, 3, 8, 8), (n, 3, 8, m)) for n, m in ((4, 8), (2, 9))]
    card = replace(load_card('demo'), build=Build(profiles=tuple({'images': r} for r in ranges)))
    assert input_shapes(card, resolve_model(card), largest=True)['images'] == (4, 3, 8, 9)
    assert input_shapes(card, resolve_model(card))['images'] == (1, 3, 256, 320)


def test_each_number_of_images_has_inputs_and_outputs_of_its_own(card):
    network = onnx_memory('demo', card, resolve_model(card), batch=3)
    assert figures(network)['inputs and outputs', 'device'][0] == (1 + 2 + 3) * IO_BYTES
    assert '2 tensors, for 1 to 3 images' in {part.source for part in network.parts}


def test_images_go_together_as_the_profiles_and_the_cameras_allow():
    card = load_card('demo')
    assert largest_batch(card, 4) == 1
    ranges = ShapeRange((1, 3, 256, 320), (2, 3, 256, 320), (4, 3, 256, 320))
    card = replace(card, build=Build(profiles=({'images': ranges},)))
    assert [largest_batch(card, n) for n in (1, 3, 8)] == [1, 3, 4]


def test_another_instance_has_the_same_under_its_own_name(card):
    network = onnx_memory('demo', card, resolve_model(card))
    second = network.renamed('demo 2')
    assert figures(second) == figures(network)
    assert {part.owner for part in second.parts} == {'demo 2'}
