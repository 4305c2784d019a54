# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The engine of a card is found in the store, or the way to it is said."""

from __future__ import annotations

import pytest

from trt_builder.settings import Resolved
from trt_builder.tensorrt_build import build
from trt_engine.card import load_card
from trt_engine.entry import Entry
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import ModelLoadError
from trt_engine.health import Level
from trt_engine.manifest import Ingredients
from trt_engine.manifest import Manifest
from trt_engine.memory.network import loaded_memory
from trt_engine.model_file import resolve_model
from trt_engine.platform import read_platform
from trt_engine.store import Store
from trt_inference.camera.config import InferenceConfig
from trt_inference.detector.engines import build_command
from trt_inference.detector.engines import BuildInProgress
from trt_inference.detector.engines import find_engine
from trt_inference.detector.engines import open_engine
from trt_inference.detector.engines import without_engine


def test_the_engine_of_these_ingredients_is_found_whatever_its_calibration(tmp_path):
    card = load_card('demo')
    assert find_engine(card, str(tmp_path)).entry is None
    ingredients = Ingredients.collect(
        card, resolve_model(card), flavour='tensorrt', facts=read_platform(),
        calibration_digest='0' * 64,
    )  # fmt: skip
    kept = Store(tmp_path).put(Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0), b'plan')

    found = find_engine(card, str(tmp_path))

    assert found.entry == kept
    assert 'built 2026-01-31T12:00:00Z' in found.reason


@pytest.fixture
def keep_engine(fake_gpu, tmp_path):
    """Return a function that keeps an engine of the demo network, built by the stand-in."""

    def keep(*flags: str) -> Entry:
        card = load_card('demo')
        resolved = Resolved('tensorrt', (10, 3, 0), 'fp32', strongly_typed=False, flags=flags)
        model = resolve_model(card)
        output = build(resolved, model, report=lambda *_: None, log=lambda *_: None)
        ingredients = Ingredients.collect(card, model, flavour='tensorrt', facts=read_platform())
        manifest = Manifest(ingredients, '2026-01-31T12:00:00Z', 1.0)
        return Store(tmp_path / 'store').put(manifest, output.plan)

    fake_gpu('10.3.0')
    return keep


def test_weights_are_streamed_where_the_node_says_so_and_the_budget_knows(keep_engine):
    card, entry = load_card('demo'), keep_engine('WEIGHT_STREAMING')
    parts = {}
    for mib in (0, 1):
        backend = open_engine(card, entry, weight_streaming_mib=mib)
        network = loaded_memory('demo', backend)
        parts[mib] = {p.side: p.nbytes for p in network.parts if p.what == 'weights'}
        assert (backend.no_graph == '') == (mib == 0)
        backend.close()
    assert 'host' not in parts[0]
    assert parts[1]['host'] > 0
    assert sum(parts[1].values()) == parts[0]['device']


def test_an_engine_that_streams_no_weights_is_refused_with_what_to_do(keep_engine):
    with pytest.raises(ModelLoadError, match='weight_streaming_mib is 1, and the engine has no'):
        open_engine(load_card('demo'), keep_engine(), weight_streaming_mib=1)


def test_the_command_builds_what_the_node_wants(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert build_command(InferenceConfig()) == 'ros2 run trt_builder trt_build demo'
    config = InferenceConfig(
        card='cards/mine.yaml', onnx='my net.onnx', overrides=('precision=fp16', 'dla.core=0'),
        engine_store='/data/engines',
    )  # fmt: skip
    assert build_command(config) == (
        f'ros2 run trt_builder trt_build {tmp_path}/cards/mine.yaml '
        f"--onnx '{tmp_path}/my net.onnx' --set precision=fp16 --set dla.core=0 "
        '--store /data/engines'
    )


def test_without_an_engine_auto_falls_back_and_says_how_to_build_one():
    choice = without_engine(InferenceConfig(), 'the store is empty')
    assert choice.name == 'onnxruntime'
    assert choice.reason == (
        'ONNX Runtime on the CPU, as there is no engine: the store is empty. To build it: ros2 '
        'run trt_builder trt_build demo'
    )


@pytest.mark.parametrize(
    'config', [InferenceConfig(backend='tensorrt'), InferenceConfig(require_tensorrt=True)]
)
def test_where_tensorrt_is_required_the_want_of_an_engine_is_an_error(config):
    with pytest.raises(BackendUnavailableError) as caught:
        without_engine(config, 'the store is empty')
    assert 'the store is empty. To build it: ros2 run trt_builder trt_build demo; or' in str(
        caught.value
    )
    assert 'ros2 launch trt_bringup build.launch.py' in str(caught.value)


def test_progress_is_a_warning_that_says_how_far_it_is():
    progress = BuildInProgress('demo', 'the store is empty')
    assert progress.health().values['elapsed (s)'] == 'unknown'
    progress.tell('build', 0.426, 'timing convolutions', 12.4)

    health = progress.health()

    assert health.level is Level.WARN
    assert health.message == 'engine is being built: build 43 %: timing convolutions'
    assert health.values == {
        'backend': 'tensorrt',
        'model': 'demo',
        'built because': 'the store is empty',
        'phase': 'build',
        'progress (%)': '43',
        'elapsed (s)': '12',
    }


def test_progress_is_logged_by_phase_and_quarter():
    progress = BuildInProgress('demo', 'the store is empty')
    steps = [('parse', 0.0), ('parse', 0.1), *(('build', n / 100) for n in range(10, 100))]
    logged = [(p, round(f, 2)) for p, f in steps if progress.tell(p, f, '', 1.0)]
    assert logged == [
        ('parse', 0.0),
        ('build', 0.1),
        ('build', 0.35),
        ('build', 0.6),
        ('build', 0.85),
    ]
