# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What runs in the process of a build: reads its job, works, and leaves results and a log.

`build_process` starts it, as `python -m trt_builder.build_child <folder of the job> <pipe>`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from dataclasses import replace
from glob import escape
import json
import os
from pathlib import Path
import sys
import threading
import time
from typing import Any

from trt_builder.build_process import CalibrationJob
from trt_builder.build_process import LAYERS
from trt_builder.build_process import PLAN
from trt_builder.build_process import RESULT
from trt_builder.build_process import TABLE
from trt_builder.build_process import TIMING
from trt_builder.settings import Resolved
from trt_engine.build_settings import LayerRule
from trt_engine.build_settings import read_build
from trt_engine.errors import BuildFailedError
from trt_engine.errors import BuildRefusedError
from trt_engine.errors import PerceptionError
from trt_engine.fields import Key

PROGRESS_EVERY_S = 0.1
COMPARED = 4  # samples
MOST_LIKELY_KILLED = 800  # of -1000 to 1000: the kernel takes the build, not the camera's node


class _Sender:
    """Writes JSON lines into the pipe."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.Lock()  # TensorRT may report from several threads
        self._said: tuple[str, str, float] = ('', '', 0.0)

    def send(self, event: str, **values: Any) -> None:
        data = json.dumps({'event': event, **values}).encode() + b'\n'
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[os.write(self._handle, view) :]

    def report(self, phase: str, fraction: float, message: str) -> None:
        """Send progress, but not every step of thousands."""
        *before, when = self._said
        now = time.monotonic()
        if [phase, message] == before and now - when < PROGRESS_EVERY_S:
            return
        self._said = (phase, message, now)
        self.send('progress', phase=phase, fraction=round(fraction, 4), message=message)


def main() -> None:
    """Run the job in a folder; the second argument is the pipe to the parent."""
    import faulthandler
    import resource

    faulthandler.enable()
    work, sender = Path(sys.argv[1]), _Sender(int(sys.argv[2]))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with ExitStack() as stack:
        try:
            adjust = stack.enter_context(Path('/proc/self/oom_score_adj').open('w'))
            adjust.write(str(MOST_LIKELY_KILLED))
        except OSError:
            pass  # not everywhere allowed; then the kernel chooses as it always does
    job = json.loads((work / 'job.json').read_text())
    try:
        values = _JOBS[job['kind']](job, work, sender)
    except PerceptionError as exc:
        sender.send('failed', kind=type(exc).__name__, message=str(exc))
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        sender.send('done', peak_mib=peak, **values)
    sys.stdout.flush()
    sys.stderr.flush()
    # not through the destructors of libraries, which have crashed after work well done
    os._exit(0)


def _end_with_parent() -> None:
    os.read(0, 1)  # the parent never writes: this ends with it
    os._exit(1)


def _run_build(job: Mapping[str, Any], work: Path, sender: _Sender) -> dict[str, Any]:
    from trt_builder.tensorrt_build import build

    resolved = Resolved.from_json(job['resolved'])
    for note in (*resolved.notes, *resolved.warnings):
        _log('NOTE', note)
    given = job['calibration']
    calibration = (
        None if given is None else CalibrationJob(**{**given, 'card': Path(given['card'])})
    )
    model = Path(job['model'])
    if resolved.simplify:
        model = _simplify(model, work / 'simplified.onnx', sender)
    if resolved.scales == 'calibrator' and resolved.keep_sensitive:
        resolved = _keep_sensitive(resolved, model)
    model = _prepare(resolved, model, calibration, work, sender)
    timing = work / TIMING
    output = build(
        resolved,
        model,
        calibration=_calibration_data(calibration) if resolved.scales == 'calibrator' else None,
        timing_cache=timing.read_bytes() if timing.is_file() else None,
        report=sender.report,
        log=_log,
    )
    (work / PLAN).write_bytes(output.plan)
    for name, data in ((TIMING, output.timing_cache), (TABLE, output.calibration_cache)):
        if data is not None:
            (work / name).write_bytes(data)
    if output.layers is not None:
        (work / LAYERS).write_text(output.layers)
    result = {
        'tensors': [asdict(each) for each in output.tensors],
        'seconds': output.seconds,
        'timing_cache': output.timing_cache is not None,
    }
    (work / RESULT).write_text(json.dumps(result))
    return {}


def _simplify(model: Path, out: Path, sender: _Sender) -> Path:
    try:
        import onnxslim
    except ImportError as exc:
        raise BuildRefusedError(
            f'simplify needs onnxslim, which cannot be imported ({exc}): pip install onnxslim, or '
            'set simplify: false'
        ) from exc
    import onnx

    sender.report('simplify', 0.0, f'simplifying with onnxslim {onnxslim.__version__}')
    before = onnx.load_model(model)
    after = onnxslim.slim(before)
    if after is None:
        raise BuildFailedError(f'onnxslim could not simplify {model.name}; set simplify: false')
    nodes = len(before.graph.node), len(after.graph.node)
    _log('NOTE', f'onnxslim {onnxslim.__version__}: {nodes[0]} nodes became {nodes[1]}')
    onnx.save_model(after, out, save_as_external_data=True, location='simplified.weights')
    return out


def _keep_sensitive(resolved: Resolved, model: Path) -> Resolved:
    from trt_builder.int8.qdq import sensitive_layers

    names = sensitive_layers(model)
    _log('NOTE', f'{len(names)} sensitive layers stay in FP16: {", ".join(names)}')
    rules = tuple(LayerRule(escape(name), 'fp16') for name in names)
    return replace(resolved, layer_rules=(*resolved.layer_rules, *rules))


def _prepare(
    resolved: Resolved,
    model: Path,
    calibration: CalibrationJob | None,
    work: Path,
    sender: _Sender,
) -> Path:
    """Return the model as TensorRT is to read it: with Q/DQ nodes, with types, or as it is."""
    if resolved.scales == 'insert':
        if calibration is None:
            raise BuildRefusedError('the settings ask for Q/DQ nodes, and there are no samples')
        model = _quantise(resolved, model, calibration, work / 'quantised.onnx', sender)
    if resolved.convert is None:
        return model
    import onnx

    from trt_builder.typed import convert

    sender.report('convert', 0.0, f'writing {resolved.convert} into the model')
    proto = onnx.load_model(model)
    io = {name: form.dtype for name, form in resolved.io.items() if form.dtype is not None}
    report = convert(proto, resolved.convert, resolved.layer_rules, io)
    _log('NOTE', f'{resolved.convert}: {report.summary()}')
    typed = work / 'typed.onnx'
    # one message ends at 2 GiB: the weights go beside it
    onnx.save_model(proto, typed, save_as_external_data=True, location='typed.weights')
    return typed


def _quantise(
    resolved: Resolved, model: Path, calibration: CalibrationJob, out: Path, sender: _Sender
) -> Path:
    from trt_builder.int8 import qdq
    from trt_builder.int8 import sensitivity
    from trt_builder.int8.tensorrt_cache import read_cache

    def warn(text: str) -> None:
        _log('WARNING', text)

    keep = qdq.SUGGESTED if resolved.keep_sensitive else qdq.Keep(depthwise=False, last=False)
    sender.report('calibrate', 0.0, 'putting Q/DQ nodes into the model')
    if calibration.cache is not None:
        report = qdq.from_cache(model, out, read_cache(Path(calibration.cache)), keep=keep)
    elif calibration.mixed:
        report, costs = sensitivity.insert_mixed(
            model,
            out,
            _samples(calibration),
            method=resolved.calibration_method,
            worst=calibration.mixed,
            keep=keep,
            progress=lambda what: sender.report('calibrate', 0.0, what),
        )
        _log('NOTE', f'what each layer loses in INT8:\n{sensitivity.to_text(costs)}')
    else:
        samples = _samples(calibration)

        def told(done: int) -> None:
            sender.report('calibrate', 0.0, f'calibration sample {done} of {len(samples)}')

        report = qdq.insert(
            model,
            out,
            samples,
            method=resolved.calibration_method,
            keep=keep,
            progress=told,
            warn=warn,
        )
    _log('NOTE', report.summary)
    return out


def _calibration_data(calibration: CalibrationJob | None) -> Any:
    from trt_builder.tensorrt_build import CalibrationData

    if calibration is None:
        return None
    if calibration.cache is not None:
        return CalibrationData(cache=Path(calibration.cache).read_bytes())
    samples = _samples(calibration)
    return CalibrationData(samples, len(samples))


def _samples(calibration: CalibrationJob) -> Any:
    from trt_builder.int8.calibration import open_calibration
    from trt_engine.card import load_card

    if calibration.data is None:
        raise BuildRefusedError('INT8 needs calibration.data or calibration.cache')
    return open_calibration(
        load_card(calibration.card),
        calibration.data,
        topic=calibration.topic,
        samples=calibration.samples,
        allow_few=calibration.allow_few,
        warn=lambda text: _log('WARNING', str(text)),
    )


def _run_probe(job: Mapping[str, Any], work: Path, sender: _Sender) -> dict[str, Any]:
    from trt_builder.tensorrt_build import probe

    return {'probe': asdict(probe(job['flavour']))}


def _run_compare(job: Mapping[str, Any], work: Path, sender: _Sender) -> dict[str, Any]:
    from trt_builder.check import check_engine
    from trt_builder.int8.calibration import open_calibration
    from trt_engine.card import load_card
    from trt_engine.card import ModelSource

    card = load_card(job['card'])
    # the paths in it are relative to where we stand already
    build = read_build(job['build'], Key(Path('job.json')) / 'build')
    card = replace(card, model=ModelSource(**job['source']), build=build)
    inputs = None
    if job['data'] is not None:
        inputs = open_calibration(
            card,
            job['data'],
            topic=job['topic'],
            samples=COMPARED,
            allow_few=True,
            warn=lambda text: _log('WARNING', text),
        )
    report = check_engine(
        card,
        Path(job['model']),
        Path(job['plan']),
        flavour=job['flavour'],
        precision=card.build.precision,
        inputs=inputs,
    )
    report.require()
    return {'report': {**report.to_json(), 'summary': report.summary()}}


def _run_dla(job: Mapping[str, Any], work: Path, sender: _Sender) -> dict[str, Any]:
    from trt_builder.tensorrt_build import ask_dla

    return {'layers': ask_dla(Path(job['model']), job['precision'], log=_log)}


def _run_check(job: Mapping[str, Any], work: Path, sender: _Sender) -> dict[str, Any]:
    from trt_builder.onnx_check import check_model

    for path in job['models']:
        report = check_model(Path(path), job['flavour'], tuple(job['version']))
        sender.send('checked', report=report.to_json())
    return {}


def _log(severity: str, message: str) -> None:
    """Write to the log of the build, which the standard output is."""
    sys.stdout.write(f'[{severity}] {message}\n')


_JOBS: Mapping[str, Callable[[Mapping[str, Any], Path, _Sender], dict[str, Any]]] = {
    'build': _run_build,
    'probe': _run_probe,
    'check': _run_check,
    'compare': _run_compare,
    'dla': _run_dla,
}

if __name__ == '__main__':
    main()
