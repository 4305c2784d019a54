# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration data is what the network will see, the same in every run, and enough of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import tracemalloc

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

from trt_builder.int8.calibration import CalibrationSet
from trt_builder.int8.calibration import open_calibration
from trt_engine.card import Card
from trt_engine.card import Head
from trt_engine.card import ImageInput
from trt_engine.card import load_card
from trt_engine.card import ModelSource
from trt_engine.card import Resize
from trt_engine.card import Thresholds
from trt_engine.errors import CalibrationError
from trt_engine.preprocess import Preprocessor

pytestmark = pytest.mark.slow  # seconds altogether

CARD = Card(
    name='tiny',
    summary='A card for tests',
    model=ModelSource('tiny.onnx', 'Apache-2.0'),
    input=ImageInput('images', 8, 6, 'rgb', Resize('stretch'), scale=1 / 255),
    head=Head('yolo', {'predictions': ('output',)}, {'form': 'end_to_end'}),
    classes=('cone',),
    thresholds=Thresholds(score=0.5, nms_iou=None),
)
SIZED = replace(CARD, input=replace(CARD.input, size_tensor='sizes'))
STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types
IMAGE = 'sensor_msgs/msg/Image'
JPEG = 'sensor_msgs/msg/CompressedImage'


def picture(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (12, 16, 3), np.uint8)


def network_input(pixels, encoding='bgr8'):
    preprocess = Preprocessor(CARD.input)
    preprocess(pixels, encoding)
    return preprocess.tensor


def read(calibration: CalibrationSet) -> list[np.ndarray]:
    return [inputs['images'].copy() for inputs in calibration]


@pytest.fixture
def folder(tmp_path):
    for index in range(12):
        cv2.imwrite(str(tmp_path / f'frame{index}.png'), picture(index))
    return tmp_path


def test_pictures_come_in_natural_order_and_as_inference_preprocesses_them(folder):
    samples = read(open_calibration(CARD, folder, allow_few=True))

    assert len(samples) == 12
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(sample, network_input(picture(index)))


def test_pictures_are_found_at_any_depth_and_hidden_or_other_files_left_out(folder):
    (folder / 'more').mkdir()
    (folder / '.thumbnails').mkdir()
    cv2.imwrite(str(folder / 'more' / 'a.jpg'), picture(20))
    cv2.imwrite(str(folder / '.thumbnails' / 'b.jpg'), picture(21))
    (folder / 'labels.txt').write_text('cone')

    calibration = open_calibration(CARD, folder, allow_few=True)

    assert len(calibration) == 13
    assert '13 JPEG and PNG files' in calibration.summary
    assert '1 other files left out' in calibration.summary


@pytest.mark.parametrize(
    ('samples', 'chosen'), [(1, [0]), (3, [0, 4, 8]), (5, [0, 2, 4, 7, 9]), (99, list(range(12)))]
)
def test_a_part_is_taken_evenly_over_the_whole(folder, samples, chosen):
    calibration = open_calibration(CARD, folder, samples=samples, allow_few=True)

    found = read(calibration)

    assert len(calibration) == len(found) == len(chosen)
    for sample, index in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(sample, network_input(picture(index)))


def test_it_can_be_read_again_and_gives_the_same(folder):
    calibration = open_calibration(CARD, folder, samples=4, allow_few=True)

    np.testing.assert_array_equal(read(calibration), read(calibration))


def test_the_size_tensor_goes_with_each_sample(folder):
    calibration = open_calibration(SIZED, folder, samples=2, allow_few=True)

    assert [inputs['sizes'].tolist() for inputs in calibration] == [[[16, 12]], [[16, 12]]]


def test_too_few_are_refused_unless_told(folder):
    with pytest.raises(
        CalibrationError, match=r'12 samples are too few .* at least 100.*allow few'
    ):
        open_calibration(CARD, folder)


def test_a_hundred_are_enough(tmp_path):
    data = cv2.imencode('.png', picture(0))[1].tobytes()
    for index in range(100):
        (tmp_path / f'{index}.png').write_bytes(data)

    assert len(open_calibration(CARD, tmp_path)) == 100


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        ('missing', 'no such file or folder'),
        ('empty', 'nothing there to calibrate from'),
        ('frame.bmp', 'wanted a folder of pictures'),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, source, text):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'frame.bmp').write_bytes(b'BM')
    with pytest.raises(CalibrationError, match=text):
        open_calibration(CARD, tmp_path / source, allow_few=True)


def test_no_sample_asked_for_is_refused(folder):
    with pytest.raises(CalibrationError, match='wanted at least 1'):
        open_calibration(CARD, folder, samples=0, allow_few=True)


def test_a_damaged_picture_is_named(folder):
    (folder / 'frame5.png').write_bytes(b'no picture')
    calibration = open_calibration(CARD, folder, allow_few=True)

    with pytest.raises(CalibrationError, match=r'frame5\.png: .* take it out'):
        read(calibration)


def test_some_constant_pictures_bring_one_warning(folder):
    for index in (3, 7):
        cv2.imwrite(str(folder / f'frame{index}.png'), np.full((12, 16, 3), 9, np.uint8))
    said: list[str] = []
    calibration = open_calibration(CARD, folder, allow_few=True, warn=said.append)

    read(calibration)
    read(calibration)

    (text,) = said
    assert '2 of 12 calibration samples are constant' in text
    assert 'frame3.png' in text


def test_nothing_but_constant_pictures_is_refused(tmp_path):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(CalibrationError, match=r'every one of 3 samples .*camera covered'):
        read(open_calibration(CARD, tmp_path, allow_few=True))


def test_the_digest_follows_content_choice_and_preprocessing_only(folder, tmp_path_factory):
    def digest(card=CARD, source=folder, samples=6):
        return open_calibration(card, source, samples=samples, allow_few=True).digest()

    moved = tmp_path_factory.mktemp('moved')
    for path in folder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    first = digest()

    assert digest(source=moved) == first, 'where it lies does not matter'
    assert digest(replace(CARD, name='other')) == first
    assert digest(samples=7) != first
    assert digest(replace(CARD, input=replace(CARD.input, color='bgr'))) != first
    cv2.imwrite(str(folder / 'frame2.png'), picture(99))
    assert digest() != first


def write_bag(path: Path, topics: dict[str, list], storage=StoragePlugin.SQLITE3) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, messages in topics.items():
            kind = messages[0].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=STORE)
            for index, message in enumerate(messages):
                writer.write(connection, index * 1000, STORE.serialize_cdr(message, kind))
    return path


def header():
    return TYPES['std_msgs/msg/Header'](TYPES['builtin_interfaces/msg/Time'](0, 0), 'camera')


def image(pixels, encoding='rgb8', padding=0):
    height, width = pixels.shape[:2]
    rows = np.zeros((height, pixels[0].size + padding), np.uint8)
    rows[:, : pixels[0].size] = pixels.reshape(height, -1)
    return TYPES[IMAGE](header(), height, width, encoding, 0, rows.shape[1], rows.ravel())


def png(pixels):
    data = cv2.imencode('.png', pixels)[1].ravel()
    return TYPES[JPEG](header(), 'png', data)


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize(
    ('make', 'encoding'), [(lambda p: image(p, padding=5), 'rgb8'), (png, 'bgr8')]
)
def test_a_bag_topic_is_read_as_inference_reads_it(tmp_path, storage, make, encoding):
    messages = [make(picture(index)) for index in range(10)]
    bag = write_bag(tmp_path / 'bag', {'/camera': messages}, storage)

    found = read(open_calibration(CARD, bag, samples=5, allow_few=True))

    for sample, index in zip(found, range(0, 10, 2), strict=True):
        np.testing.assert_array_equal(sample, network_input(picture(index), encoding))


def test_the_digest_of_a_bag_follows_its_messages(tmp_path):
    bags = [
        write_bag(tmp_path / f'bag{n}', {'/camera': [image(picture(i + n)) for i in range(3)]})
        for n in (0, 1)
    ]
    same = write_bag(tmp_path / 'same', {'/camera': [image(picture(i)) for i in range(3)]})
    digests = [open_calibration(CARD, each, allow_few=True).digest() for each in (*bags, same)]

    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(
    ('topic', 'text'),
    [
        (None, 'several image topics; say which'),
        ('/lidar', "no image topic '/lidar' in the bag; it has: /left .*Image, 2"),
    ],
)
def test_the_topic_must_be_clear(tmp_path, topic, text):
    messages = [image(picture(0)), image(picture(1))]
    bag = write_bag(tmp_path / 'bag', {'/left': messages, '/right': messages})
    with pytest.raises(CalibrationError, match=text):
        open_calibration(CARD, bag, topic=topic, allow_few=True)
    assert len(open_calibration(CARD, bag, topic='/right', allow_few=True)) == 2


def test_a_topic_without_a_bag_is_refused(folder):
    with pytest.raises(CalibrationError, match='not a rosbag2'):
        open_calibration(CARD, folder, topic='/camera', allow_few=True)


def test_a_message_that_lies_is_named(tmp_path):
    liar = image(picture(1))
    liar.step = 3
    bag = write_bag(tmp_path / 'bag', {'/camera': [image(picture(0)), liar]})
    with pytest.raises(CalibrationError, match='message 1 on /camera: step 3 is too short'):
        read(open_calibration(CARD, bag, allow_few=True))


def test_a_damaged_bag_is_refused(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/camera': [image(picture(0))]})
    (file,) = bag.glob('*.db3')
    file.write_bytes(b'not a database at all' * 100)
    with pytest.raises(CalibrationError, match='cannot be read as a rosbag2'):
        read(open_calibration(CARD, bag, allow_few=True))


def arrays(count=6, dtype=np.float32):
    images = np.random.default_rng(0).random((count, 3, 6, 8)).astype(dtype)
    return images, np.tile(np.array([[16, 12]], np.int64), (count, 1))


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_network_inputs_are_taken_as_they_are(tmp_path, save):
    images, sizes = arrays()
    save(tmp_path / 'data.npz', images=images, sizes=sizes)
    calibration = open_calibration(SIZED, tmp_path / 'data.npz', samples=3, allow_few=True)

    found = [(inputs['images'].copy(), inputs['sizes'].tolist()) for inputs in calibration]

    assert len(found) == 3
    for (sample, size), index in zip(found, (0, 2, 4), strict=True):
        np.testing.assert_array_equal(sample, images[index : index + 1])
        assert size == [[16, 12]]


@pytest.mark.parametrize(
    ('card', 'content', 'text'),
    [
        (SIZED, {'images': arrays()[0]}, "wanted exactly the inputs of card 'tiny'"),
        (CARD, {'input': arrays()[0]}, "has arrays 'input'; wanted .* 'images'"),
        (CARD, {'images': arrays()[0][:, :, :5]}, r'wanted float32 of shape \(samples, 3, 6, 8\)'),
        (CARD, {'images': arrays(dtype=np.float64)[0]}, 'is float64'),
        (CARD, {'images': np.asfortranarray(arrays()[0])}, 'by columns; wanted'),
        (CARD, {'images': np.array([{}])}, 'wanted numbers'),
        (
            SIZED,
            {'images': arrays()[0], 'sizes': arrays(5)[1]},
            'arrays of different numbers of samples',
        ),
    ],
)
def test_other_arrays_are_refused(tmp_path, card, content, text):
    np.savez(tmp_path / 'data.npz', **content)
    with pytest.raises(CalibrationError, match=text):
        open_calibration(card, tmp_path / 'data.npz', allow_few=True)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    images, _ = arrays()
    images[4, 0, 0, 0] = np.nan
    np.savez(tmp_path / 'data.npz', images=images)
    with pytest.raises(CalibrationError, match=r'sample 4: .* not finite'):
        read(open_calibration(CARD, tmp_path / 'data.npz', allow_few=True))


def test_a_damaged_npz_is_refused(tmp_path):
    path = tmp_path / 'data.npz'
    np.savez(path, images=arrays()[0])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CalibrationError, match=r'not a whole \.npz'):
        open_calibration(CARD, path, allow_few=True)


def test_an_npz_is_never_in_memory_as_a_whole(tmp_path):
    card = replace(CARD, input=replace(CARD.input, width=320, height=320))
    images = np.random.default_rng(0).random((60, 3, 320, 320), np.float32)
    np.savez(tmp_path / 'data.npz', images=images)
    whole = images.nbytes
    del images
    tracemalloc.start()
    for _ in open_calibration(card, tmp_path / 'data.npz', allow_few=True):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < whole / 5


def test_real_pictures_and_a_real_bag(data):
    card = load_card('yolox_nano')
    pictures = open_calibration(card, data / 'coco_val64' / 'images', samples=8, allow_few=True)
    bag = data / 'bags' / 'permissive_mix_db3'

    shapes = {inputs['images'].shape for inputs in pictures}

    assert shapes == {(1, 3, 416, 416)}
    for topic, count in (('/camera/image_raw', 6), ('/camera/image_raw/compressed', 24)):
        assert len(read(open_calibration(card, bag, topic=topic, allow_few=True))) == count
