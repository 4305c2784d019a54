# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Each head gives back the boxes that its outputs encode, and refuses outputs of another form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import warnings

import numpy as np
import pytest

from trt_engine.card import Card
from trt_engine.card import find_cards
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import load_card
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.errors import CardError
from trt_engine.errors import DecodeError
from trt_engine.lidar_card import PointsInput
from trt_engine.preprocess import Geometry
from trt_inference.camera.decoders import HEADS
from trt_inference.camera.decoders import open_decoder
from trt_inference.camera.decoders.head import MAX_CANDIDATES
from trt_inference.lidar.decoders3d import open_decoder3d

WIDTH, HEIGHT = 96, 64
CLASSES = ('cone', 'ball', 'box')
# the image is twice as large as the network input, which has a border of 8 rows above it
GEOMETRY = Geometry(192, 96, 0.5, 0.5, 0.0, 8.0)
THRESHOLDS = Thresholds(score=0.25, nms_iou=0.5)

# in network pixels, with class and score, the highest score first
KNOWN = (
    ((10.0, 20.0, 30.0, 50.0), 2, 0.9),
    ((40.0, 10.0, 90.0, 44.0), 0, 0.75),
    ((46.0, 30.0, 62.0, 50.0), 1, 0.5),
)


def card(
    type: str, outputs: dict, options: dict | None = None, *, resize: str = 'stretch', **changes
) -> Card:
    names = {
        role: (name,) if isinstance(name, str) else tuple(name) for role, name in outputs.items()
    }
    return Card(
        name='my_card',
        summary='A card for tests',
        model=ModelSource('my.onnx', 'Apache-2.0'),
        input=ImageInput('images', WIDTH, HEIGHT, 'rgb', Resize(resize), **changes),
        head=Head(type, names, options or {}),
        classes=CLASSES,
        thresholds=THRESHOLDS,
        path=Path('folder/my_card.yaml'),
    )


def one_hot(label: int, score: float) -> np.ndarray:
    scores = np.full(len(CLASSES), 0.01, np.float32)
    scores[label] = score
    return scores


def centre_size(box) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], np.float32)


def cell_of(box, strides: tuple[int, ...], offset: float) -> tuple[int, int, float, float]:
    """Return level and row in it of a cell inside the box, and the cell's centre in pixels."""
    stride_index = 0 if len(strides) == 1 else min(1, len(strides) - 1)
    stride = strides[stride_index]
    column = int((box[0] + box[2]) / 2 // stride)
    row = int((box[1] + box[3]) / 2 // stride)
    index = row * -(-WIDTH // stride) + column
    return stride_index, index, (column + offset) * stride, (row + offset) * stride


def counts(strides) -> list[int]:
    return [-(-WIDTH // stride) * -(-HEIGHT // stride) for stride in strides]


def yolox_outputs(decoded: bool) -> dict[str, np.ndarray]:
    strides = (8, 16, 32)
    rows = np.zeros((sum(counts(strides)), 5 + len(CLASSES)), np.float32)
    for box, label, score in KNOWN:
        level, index, x, y = cell_of(box, strides, 0)
        stride = strides[level]
        code = centre_size(box)
        if not decoded:
            code = np.array([*((code[:2] - (x, y)) / stride), *np.log(code[2:] / stride)])
        row = sum(counts(strides)[:level]) + index
        rows[row] = [*code, 0.95, *one_hot(label, score / 0.95)]
    return {'output': rows[None]}


def gfl_outputs(strides, offset: float, *, logits: bool) -> tuple[list, list]:
    """Return scores and distances by level; a side is spread over the two bins beside it."""
    scores = [np.full((count, len(CLASSES)), 0.01, np.float32) for count in counts(strides)]
    sides = [np.full((count, 4, 8), -30, np.float32) for count in counts(strides)]
    for box, label, score in KNOWN:
        level, index, x, y = cell_of(box, strides, offset)
        reach = np.array([x - box[0], y - box[1], box[2] - x, box[3] - y]) / strides[level]
        assert (reach >= 0).all()
        assert (reach < 7).all()
        for side, cells in enumerate(reach):
            below = int(cells)
            sides[level][index, side, below] = np.log(below + 1 - cells + 1e-12)
            sides[level][index, side, below + 1] = np.log(cells - below + 1e-12)
        scores[level][index] = one_hot(label, score)
    if logits:
        scores = [np.log(level / (1 - level)) for level in scores]
    return [s[None] for s in scores], [s.reshape(1, len(s), 32) for s in sides]


def case_yolox(decoded):
    made = card('yolox', {'predictions': 'output'}, {'decoded': decoded})
    return made, yolox_outputs(decoded)


def case_anchor_free():
    columns = np.zeros((4 + len(CLASSES), 40), np.float32)
    for place, (box, label, score) in enumerate(KNOWN):
        columns[:, 7 * place + 3] = [*centre_size(box), *one_hot(label, score)]
    made = card('yolo', {'predictions': 'output0'}, {'form': 'anchor_free'}, resize='letterbox')
    return made, {'output0': columns[None]}


def case_objectness():
    rows = np.zeros((40, 5 + len(CLASSES)), np.float32)
    for place, (box, label, score) in enumerate(KNOWN):
        rows[39 - 5 * place] = [*centre_size(box), 0.95, *one_hot(label, score / 0.95)]
    made = card('yolo', {'predictions': 'output'}, {'form': 'objectness'})
    return made, {'output': rows[None]}


def case_end_to_end():
    rows = np.zeros((20, 6), np.float32)
    for place, (box, label, score) in enumerate(KNOWN):
        rows[place * 2] = [*box, score, label]
    made = card('yolo', {'predictions': 'output0'}, {'form': 'end_to_end'})
    return made, {'output0': rows[None]}


def case_detr_decoded():
    scale = np.array([GEOMETRY.scale_x, GEOMETRY.scale_y] * 2)
    pad = np.array([GEOMETRY.pad_x, GEOMETRY.pad_y] * 2)
    labels, boxes, scores = np.zeros((1, 9), np.int64), np.zeros((1, 9, 4)), np.zeros((1, 9))
    for place, (box, label, score) in enumerate(KNOWN):
        labels[0, place] = label
        boxes[0, place] = (np.array(box) - pad) / scale
        scores[0, place] = score
    made = card(
        'detr',
        {'labels': 'labels', 'boxes': 'boxes', 'scores': 'scores'},
        {'form': 'decoded'},
        size_tensor='sizes',
    )
    outputs = {'labels': labels, 'boxes': boxes, 'scores': scores}
    return made, {k: v if k == 'labels' else v.astype(np.float32) for k, v in outputs.items()}


def case_detr_normalized():
    rows = np.zeros((12, 4 + len(CLASSES)), np.float32)
    for place, (box, label, score) in enumerate(KNOWN):
        rows[place] = [*normal(box), *one_hot(label, score)]
    made = card('detr', {'predictions': 'output'}, {'form': 'normalized'})
    return made, {'output': rows[None]}


def normal(box) -> np.ndarray:
    return centre_size(box) / np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)


def case_gfl_levels(logits):
    strides = (8, 16, 32)
    scores, distances = gfl_outputs(strides, 0.5, logits=logits)
    names = {'scores': ['c8', 'c16', 'c32'], 'distances': ['d8', 'd16', 'd32']}
    options = {'strides': strides, 'bins': 8, 'scores_are_logits': logits}
    tensors = dict(zip(names['scores'] + names['distances'], scores + distances, strict=True))
    return card('gfl', names, options), tensors


def case_gfl_joined():
    strides = (8, 16, 32, 64)
    scores, distances = gfl_outputs(strides, 0.0, logits=False)
    joined = np.concatenate(
        [np.concatenate(pair, axis=2) for pair in zip(scores, distances, strict=True)], axis=1
    )
    options = {'strides': strides, 'center_offset': 0.0}
    return card('gfl', {'predictions': 'output'}, options), {'output': joined}


def case_ssd(background):
    columns = len(CLASSES) + (background is not None)
    of_class = [column for column in range(columns) if column != background]
    scores, boxes = np.zeros((1, 30, columns), np.float32), np.zeros((1, 30, 4), np.float32)
    if background is not None:
        scores[..., background] = 0.99
    for place, (box, label, score) in enumerate(KNOWN):
        scores[0, place + 4, of_class] = one_hot(label, score)
        boxes[0, place + 4] = np.array(box) / (WIDTH, HEIGHT, WIDTH, HEIGHT)
    made = card('ssd', {'scores': 'scores', 'boxes': 'boxes'}, {'background': background})
    return made, {'scores': scores, 'boxes': boxes}


CASES = {
    'yolox raw': case_yolox(False),
    'yolox decoded': case_yolox(True),
    'yolo anchor_free': case_anchor_free(),
    'yolo objectness': case_objectness(),
    'yolo end_to_end': case_end_to_end(),
    'detr decoded': case_detr_decoded(),
    'detr normalized': case_detr_normalized(),
    'gfl levels': case_gfl_levels(False),
    'gfl logits': case_gfl_levels(True),
    'gfl joined': case_gfl_joined(),
    'ssd background 0': case_ssd(0),
    'ssd background last': case_ssd(3),
    'ssd no background': case_ssd(None),
}
cases = pytest.mark.parametrize(('made', 'outputs'), CASES.values(), ids=CASES)


def decode(made, outputs, **changes):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        return open_decoder(made)(outputs, replace(THRESHOLDS, **changes), GEOMETRY)


def expected_boxes() -> np.ndarray:
    boxes = np.array([box for box, _, _ in KNOWN], np.float32)
    boxes = (boxes - (0, 8, 0, 8)) * 2
    return np.clip(boxes, 0, (192, 96, 192, 96))


@cases
def test_known_boxes_come_back(made, outputs):
    before = {name: output.copy() for name, output in outputs.items()}
    found = decode(made, outputs)
    assert found.classes.tolist() == [label for _, label, _ in KNOWN]
    np.testing.assert_allclose(found.scores, [score for *_, score in KNOWN], rtol=1e-5)
    np.testing.assert_allclose(found.boxes, expected_boxes(), atol=1e-3)
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
    assert found.classes.dtype == np.int32
    for name, output in outputs.items():
        np.testing.assert_array_equal(output, before[name])


@cases
def test_half_precision_outputs_are_decoded(made, outputs):
    half = {
        name: output.astype(np.float16) if output.dtype.kind == 'f' else output
        for name, output in outputs.items()
    }
    found = decode(made, half)
    assert found.classes.tolist() == [label for _, label, _ in KNOWN]
    np.testing.assert_allclose(found.boxes, expected_boxes(), atol=0.5)
    assert found.boxes.dtype == np.float32


@cases
def test_thresholds_hold(made, outputs):
    assert decode(made, outputs, score=0.6).classes.tolist() == [2, 0]
    assert decode(made, outputs, max_detections=1).classes.tolist() == [2]
    assert len(decode(made, outputs, score=1.0)) == 0
    assert len(decode(made, outputs, score=0.0, max_detections=10_000)) >= len(KNOWN)
    # the ball lies within the box of the cone, whose share it is
    agnostic = decode(made, outputs, nms_iou=0.05, class_agnostic=True)
    assert agnostic.classes.tolist() == [2, 0]
    assert decode(made, outputs, nms_iou=0.05).classes.tolist() == [2, 0, 1]
    assert decode(made, outputs, nms_iou=None).classes.tolist() == [2, 0, 1]


@cases
def test_nothing_seen_is_no_detection(made, outputs):
    empty = {
        name: np.full_like(output, -50 if 'logits' in str(made.head.options) else 0)
        for name, output in outputs.items()
    }
    found = decode(made, empty)
    assert found.boxes.shape == (0, 4)


@cases
@pytest.mark.parametrize('rubbish', [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_no_box_has_are_dropped(made, outputs, rubbish):
    chance = np.random.default_rng(5)
    spoilt = {}
    for name, output in outputs.items():
        spoilt[name] = output.copy()
        if output.dtype.kind == 'f':
            where = chance.random(output.shape) < 0.2
            if made.head.options.get('form') == 'end_to_end' and rubbish == 3e38:
                where[..., 5] = False  # a class that the card lacks is another test's
            spoilt[name][where] = rubbish
    found = decode(made, spoilt)
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.scores).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= (192, 96, 192, 96)).all()


def test_boxes_that_are_none_take_no_place_from_others():
    (scores,), (distances,) = gfl_outputs((4,), 0.5, logits=False)
    others = scores.max(axis=2) < 0.3
    assert others.sum() * len(CLASSES) > MAX_CANDIDATES
    scores[others] = 0.99
    distances[others] = np.nan
    made = card('gfl', {'scores': 's', 'distances': 'd'}, {'strides': (4,), 'bins': 8})
    found = decode(made, {'s': scores, 'd': distances}, multi_label=True)
    assert found.classes.tolist() == [label for _, label, _ in KNOWN]


@cases
def test_other_shapes_are_refused(made, outputs):
    for name, output in outputs.items():
        for wrong in (output[:, :, None], output[0, 0], np.concatenate((output, output))):
            with pytest.raises(DecodeError, match=rf'output {name!r} has shape \[.*promises \[1, '):
                decode(made, {**outputs, name: wrong})
        others = {other: value for other, value in outputs.items() if other != name}
        with pytest.raises(DecodeError, match=f'the network has no output {name!r}; it has'):
            decode(made, others)


NUMBERED = ('yolo end_to_end', 'detr decoded')  # these give class numbers, not a column a class


@pytest.mark.parametrize('name', sorted(set(CASES) - {*NUMBERED, 'ssd background last'}))
def test_other_numbers_of_classes_are_refused(name):
    made, outputs = CASES[name]
    with pytest.raises(DecodeError, match='the card promises'):
        decode(replace(made, classes=CLASSES[:2]), outputs)


@pytest.mark.parametrize('name', NUMBERED)
def test_classes_that_the_card_lacks_are_refused(name):
    made, outputs = CASES[name]
    with pytest.raises(DecodeError, match=r'has class 2; the card has classes 0\.\.1'):
        decode(replace(made, classes=CLASSES[:2]), outputs)


def test_boxes_outside_the_image_are_dropped():
    made, outputs = case_end_to_end()
    outputs['output0'][0, 0, :4] = [10, 0, 30, 7]  # within the border above the image
    assert decode(made, outputs).classes.tolist() == [0, 1]


def test_overlapping_boxes_of_one_class_are_one():
    made, outputs = case_end_to_end()
    outputs['output0'][0, 1] = [11, 21, 31, 51, 0.8, 2]
    assert decode(made, outputs).classes.tolist() == [2, 0, 1]
    assert decode(made, outputs, nms_iou=None).classes.tolist() == [2, 2, 0, 1]


def test_candidates_are_capped_to_the_best():
    count = MAX_CANDIDATES + 500
    rows = np.zeros((1, count, 6), np.float32)
    rows[0] = [10, 20, 30, 40, 0, 0]
    rows[0, :, 4] = np.linspace(0.3, 0.9, count)
    made = card('yolo', {'predictions': 'o'}, {'form': 'end_to_end'})
    found = decode(made, {'o': rows}, nms_iou=None, max_detections=5000)
    assert len(found) == MAX_CANDIDATES
    np.testing.assert_array_equal(found.scores, rows[0, ::-1, 4][:MAX_CANDIDATES])


def test_a_cell_counts_once_or_once_for_each_class():
    made, outputs = case_gfl_levels(False)
    outputs['c16'][outputs['c16'] == np.float32(0.9)] = 0.9
    row = np.argmax(outputs['c16'][0, :, 2])
    outputs['c16'][0, row, 1] = 0.6
    assert decode(made, outputs).classes.tolist() == [2, 0, 1]
    assert decode(made, outputs, multi_label=True).classes.tolist() == [2, 0, 1, 1]


@pytest.mark.parametrize('name', sorted(find_cards()))
def test_every_card_of_ours_opens(name):
    card = load_card(name)
    if isinstance(card.input, PointsInput):
        open_decoder3d(card, card.points)
    else:
        open_decoder(card)


YOLO = {'predictions': 'o'}
GFL = {'scores': ['a', 'b'], 'distances': ['c', 'd']}
DETR = {'labels': 'l', 'boxes': 'b', 'scores': 's'}


@pytest.mark.parametrize(
    ('type', 'outputs', 'options', 'text'),
    [
        ('yolov8', YOLO, {}, "head.type is 'yolov8'; did you mean 'yolo.*'.*detr, gfl, ssd, yolo"),
        ('yolo', YOLO, {}, "head lacks the key 'form'"),
        ('yolo', YOLO, {'form': 'anchorfree'}, "head.form is 'anchorfree'; did you mean 'anchor_f"),
        ('yolo', YOLO, {'form': 'objectness', 'nc': 80}, "head has an unknown key 'nc'"),
        ('yolo', {'output': 'o'}, {'form': 'objectness'}, "outputs has an unknown role 'output'"),
        ('yolo', {}, {'form': 'objectness'}, "outputs lacks the role 'predictions'"),
        (
            'yolo',
            {'predictions': ['a', 'b']},
            {'form': 'objectness'},
            'names 2 tensors; allowed: 1',
        ),
        ('yolox', YOLO, {'strides': ()}, 'head.strides is .*; allowed: a rising list of strides'),
        ('yolox', YOLO, {'strides': (8, 7)}, 'a rising list of strides out of 4, 8'),
        ('yolox', YOLO, {'strides': (16, 8)}, 'a rising list'),
        ('yolox', YOLO, {'strides': 8}, 'head.strides is 8'),
        ('yolox', YOLO, {'decoded': 'yes'}, "head.decoded is 'yes'; allowed: true or false"),
        ('gfl', GFL, {}, "head lacks the key 'strides'"),
        ('gfl', GFL, {'strides': (8,)}, 'outputs.scores names 2 tensors; allowed: 1'),
        (
            'gfl',
            GFL,
            {'strides': (8, 16), 'bins': 1},
            'head.bins is 1; allowed: a whole number from',
        ),
        ('gfl', GFL, {'strides': (8, 16), 'center_offset': 2}, 'head.center_offset is 2'),
        ('detr', DETR, {'form': 'decoded'}, 'allowed: with input.size_tensor and'),
        ('detr', YOLO, {'form': 'decoded'}, "unknown role 'predictions'"),
        ('ssd', {'scores': 's', 'boxes': 'b'}, {'background': 9}, 'head.background is 9; allowed'),
        ('ssd', {'scores': 's', 'boxes': 'b'}, {'background': 'no'}, "head.background is 'no'"),
    ],
)
def test_wrong_heads_are_refused_naming_file_and_key(type, outputs, options, text):
    with pytest.raises(CardError, match=rf'^folder/my_card\.yaml: .*{text}'):
        open_decoder(card(type, outputs, options))


def test_every_head_is_one_file():
    import trt_inference.camera.decoders

    folder = Path(trt_inference.camera.decoders.__file__).parent
    assert {path.stem for path in folder.glob('*.py')} == {*HEADS, '__init__', 'head'}
