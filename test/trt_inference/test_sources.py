# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that can be replayed, and everything that cannot and says why."""

from __future__ import annotations

import os
from pathlib import Path
import sqlite3

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import CompressionFormat
from rosbags.rosbag2.enums import CompressionMode
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores

from trt_engine.errors import SourceError
from trt_inference.cdr import serialize_compressed_image
from trt_inference.cdr import serialize_image
from trt_inference.replay.sources import BagSource
from trt_inference.replay.sources import natural_key
from trt_inference.replay.sources import open_source
from trt_inference.replay.sources import PictureSource
from trt_inference.replay.sources import VideoSource

pytestmark = pytest.mark.slow

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
IMAGE = 'sensor_msgs/msg/Image'
JPEG = 'sensor_msgs/msg/CompressedImage'


@pytest.fixture(scope='module')
def types():
    return get_typestore(Stores.ROS2_JAZZY)


def write_bag(
    path, types, storage=StoragePlugin.SQLITE3, messages=5, compression=None, string=True
):
    writer = Writer(path, version=9, storage_plugin=storage)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        image = writer.add_connection('/cam/image', IMAGE, typestore=types)
        jpeg = writer.add_connection(
            '/cam/jpeg', 'sensor_msgs/msg/CompressedImage', typestore=types
        )
        text = writer.add_connection('/text', 'std_msgs/msg/String', typestore=types)
        message = types.types['std_msgs/msg/String'](data='hello')
        writer.write(text, START_NS, types.serialize_cdr(message, 'std_msgs/msg/String'))
        for index in range(messages):
            t_ns = START_NS + index * 40 * MS
            writer.write(image, t_ns, serialize_image(t_ns - 3 * MS, 'cam', PIXELS))
            if index % 2:
                data = serialize_compressed_image(t_ns, 'cam', 'jpeg', b'no jpeg')
                writer.write(jpeg, t_ns + MS, data)
    return path


def storage_file(bag):
    return next(each for each in bag.iterdir() if each.suffix in ('.db3', '.mcap'))


def write_picture(path, value=100):
    assert cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def write_video(path, code='mp4v', frames=6, rate=12.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), index * 40, np.uint8))
    writer.release()
    return path


# --- bags


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize('as_file', [False, True])
def test_bag_is_played_as_it_was_recorded(tmp_path, types, storage, as_file):
    bag = write_bag(tmp_path / 'bag', types, storage)
    source = open_source(str(storage_file(bag) if as_file else bag))
    assert isinstance(source, BagSource)
    assert not source.live
    assert source.topics == {
        '/cam/image': IMAGE,
        '/cam/jpeg': JPEG,
    }
    assert source.period_ns == pytest.approx(40 * MS, rel=1e-6)
    assert '7 messages on 2 topics, 0.2 s' in source.summary
    items = list(source)
    assert [(each.t_ns - START_NS) // MS for each in items] == [0, 40, 41, 80, 120, 121, 160]
    assert items[0].data == serialize_image(START_NS - 3 * MS, 'cam', PIXELS)
    assert (items[2].topic, items[2].type) == ('/cam/jpeg', JPEG)
    assert list(source) == items


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bag(tmp_path, types, mode):
    source = open_source(str(write_bag(tmp_path / 'bag', types, compression=mode)))
    assert next(iter(source)).data == serialize_image(START_NS - 3 * MS, 'cam', PIXELS)


def test_one_file_of_a_compressed_bag_is_not_sent_as_garbage(tmp_path, types):
    bag = write_bag(tmp_path / 'bag', types, compression=CompressionMode.MESSAGE)
    source = open_source(str(storage_file(bag)))
    with pytest.raises(SourceError, match='is not CDR but begins with 28 b5 2f fd; if the bag is'):
        list(source)


def test_named_topics_only(tmp_path, types):
    bag = write_bag(tmp_path / 'bag', types)
    source = open_source(str(bag), topics=['/text'])
    assert source.topics == {'/text': 'std_msgs/msg/String'}
    assert len(list(source)) == 1
    assert open_source(str(bag), topics=['/text'], frame_rate=4.0).period_ns == 250 * MS


def test_unknown_topic(tmp_path, types):
    bag = write_bag(tmp_path / 'bag', types)
    with pytest.raises(SourceError, match=r'no topic /nope; it has: /cam/image \(sensor_msgs/'):
        open_source(str(bag), topics=['/nope'])


def test_bag_without_sensor_topics(tmp_path, types):
    with Writer(tmp_path / 'bag', version=9) as writer:
        writer.add_connection('/text', 'std_msgs/msg/String', typestore=types)
    with pytest.raises(SourceError, match=r'no image or point cloud; it has: /text \(std_msgs'):
        open_source(str(tmp_path / 'bag'))


def test_bag_without_messages(tmp_path, types):
    bag = write_bag(tmp_path / 'bag', types, messages=0)
    with pytest.raises(SourceError, match='has no message on /cam/image, /cam/jpeg'):
        open_source(str(bag))


def test_bag_without_metadata(tmp_path, types):
    bag = write_bag(tmp_path / 'bag', types)
    (bag / 'metadata.yaml').unlink()
    with pytest.raises(SourceError, match=r'cut short; play its file bag\.db3, or repair it: ros2'):
        open_source(str(bag))


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize('damage', ['empty', 'garbage', 'half', 'missing'])
def test_damaged_bag(tmp_path, types, storage, damage):
    bag = write_bag(tmp_path / 'bag', types, storage)
    file = storage_file(bag)
    whole = file.read_bytes()
    match damage:
        case 'empty':
            file.write_bytes(b'')
        case 'garbage':
            file.write_bytes(b'garbage' * 999)
        case 'half':
            file.write_bytes(whole[: len(whole) // 2])
        case 'missing':
            file.unlink()
    with pytest.raises(SourceError, match=r'cannot be read as a rosbag2: .*ros2 bag reindex'):
        list(open_source(str(bag)))


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_no_flipped_byte_escapes_as_another_error(tmp_path, types, storage):
    file = storage_file(write_bag(tmp_path / 'bag', types, storage, messages=2))
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            items = list(open_source(str(file)))
        except SourceError:
            continue
        assert all(isinstance(each.data, bytes) for each in items)


@pytest.mark.parametrize('text', ['', 'x: 1', '[', 'rosbag2_bagfile_information: 3', '\x00'])
def test_damaged_metadata(tmp_path, types, text):
    bag = write_bag(tmp_path / 'bag', types)
    (bag / 'metadata.yaml').write_text(text)
    with pytest.raises(SourceError, match='cannot be read as a rosbag2'):
        open_source(str(bag))


def test_database_that_is_no_bag(tmp_path):
    path = tmp_path / 'other.db3'
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE notes (text TEXT)')
    connection.close()
    with pytest.raises(SourceError, match='missing tables'):
        open_source(str(path))


def test_real_bag(data):
    source = open_source(str(data / 'bags' / 'permissive_mix_db3'))
    kinds = [each.type.rpartition('/')[2] for each in source]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        'CompressedImage': 24,
        'CameraInfo': 24,
        'Image': 6,
        'PointCloud2': 3,
    }
    assert source.period_ns == pytest.approx(33.3 * MS, rel=0.01)


# --- pictures


def test_names_are_sorted_as_people_count():
    names = ['b.png', 'frame10.png', 'frame9.png', 'A.png', '2.png', '10.png', 'frame09b.png']
    assert [each.name for each in sorted(map(Path, names), key=natural_key)] == [
        '2.png', '10.png', 'A.png', 'b.png', 'frame9.png', 'frame09b.png', 'frame10.png',
    ]  # fmt: skip


def test_folder_of_pictures(tmp_path):
    for number in (1, 2, 10):
        write_picture(tmp_path / f'{number}.png', number)
    (tmp_path / 'notes.txt').write_text('not a picture')
    (tmp_path / '._1.png').write_bytes(b'left by a Mac')
    source = open_source(str(tmp_path), frame_rate=20.0)
    assert isinstance(source, PictureSource)
    assert source.topics == {}
    assert source.summary == f'3 pictures of {tmp_path.name}/'
    items = list(source)
    assert [each.pixels[0, 0, 0] for each in items] == [1, 2, 10]
    assert [each.t_ns // MS for each in items] == [0, 50, 100]


@pytest.mark.parametrize(
    ('name', 'format'), [('a.jpg', 'jpeg'), ('a.JPEG', 'jpeg'), ('a.png', 'png')]
)
def test_a_file_that_is_already_compressed_is_sent_as_it_is(tmp_path, name, format):
    path = write_picture(tmp_path / name)
    (item,) = open_source(str(path))
    assert item.encoded() == (format, path.read_bytes())
    assert item.pixels.shape == (24, 32, 3)


def test_other_pictures_are_compressed_as_jpeg(tmp_path):
    (item,) = open_source(str(write_picture(tmp_path / 'a.bmp')))
    format, encoded = item.encoded()
    assert format == 'jpeg'
    assert encoded.startswith(b'\xff\xd8')


def test_gray_and_transparent_pictures_become_colour(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((4, 6), 7, np.uint8))
    cv2.imwrite(str(tmp_path / 'b.png'), np.full((4, 6, 4), 7, np.uint8))
    cv2.imwrite(str(tmp_path / 'c.png'), np.full((4, 6), 7 << 8, np.uint16))
    for item in open_source(str(tmp_path)):
        assert item.pixels.shape == (4, 6, 3)
        assert item.pixels.dtype == np.uint8
        assert (item.pixels == 7).all()


def test_damaged_pictures_are_left_out_with_one_warning_each(tmp_path):
    whole = write_picture(tmp_path / '1.png').read_bytes()
    (tmp_path / '2.png').write_bytes(whole[: len(whole) // 2])
    (tmp_path / '3.jpg').write_bytes(b'')
    write_picture(tmp_path / '4.png')
    (tmp_path / '5.png').symlink_to('nowhere')
    (tmp_path / '6.png').mkdir()
    warnings = []
    source = open_source(str(tmp_path), frame_rate=10.0, warn=warnings.append)
    for _ in range(2):
        assert [each.t_ns // MS for each in source] == [0, 100]
    assert [each.name for each in source.skipped] == ['2.png', '3.jpg', '5.png', '6.png']
    assert len(warnings) == 4
    assert '2.png: not a picture that can be read' in warnings[0]
    assert warnings[3].endswith('left out (4 of 6 so far)')


def test_a_folder_in_which_nothing_can_be_read(tmp_path):
    for name in ('1.png', '2.jpg'):
        (tmp_path / name).write_bytes(b'damaged')
    source = open_source(str(tmp_path), warn=lambda text: None)
    with pytest.raises(SourceError, match='none of 2 pictures could be read'):
        list(source)


def test_empty_folder(tmp_path):
    with pytest.raises(SourceError, match='0 files in the folder, but neither a rosbag2'):
        open_source(str(tmp_path))


# --- video


@pytest.mark.parametrize(('name', 'code'), [('a.mp4', 'mp4v'), ('a.AVI', 'MJPG')])
def test_video(tmp_path, name, code):
    source = open_source(str(write_video(tmp_path / name, code)), frame_rate=99.0)
    assert isinstance(source, VideoSource)
    assert source.summary == f'video {name}: 64x48, 12 fps'
    for _ in range(2):
        items = list(source)
        assert [round(each.t_ns / 1e9, 4) for each in items] == [
            round(index / 12, 4) for index in range(6)
        ]
        assert [each.pixels[24, 32, 0] for each in items] == pytest.approx(
            [index * 40 for index in range(6)], abs=4
        )


@pytest.mark.parametrize('damage', ['empty', 'garbage', 'half'])
def test_video_that_cannot_be_read(tmp_path, damage):
    path = write_video(tmp_path / 'a.mp4')
    content = {'empty': b'', 'garbage': b'garbage' * 99, 'half': path.read_bytes()[:300]}
    path.write_bytes(content[damage])
    with pytest.raises(SourceError, match=r'cannot read it as a video.*ffmpeg -i'):
        open_source(str(path))


# --- what is not there


@pytest.mark.parametrize(
    ('uri', 'words'),
    [
        ('', 'no source given; wanted a rosbag2, picture'),
        ('nowhere.mp4', 'nowhere.mp4: no such file or device; check the path'),
        ('/dev/video97', '/dev/video97: no such file or device'),
        ('97', '/dev/video97: no such file or device'),
        ('/dev/null', '/dev/null: it does not open as a V4L2 camera'),
        ('rtsp://camera/stream', 'no such file or device'),
    ],
)
def test_nothing_there(uri, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as error:
        open_source(uri)
    assert words in str(error.value)


def test_unknown_suffix(tmp_path):
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(SourceError, match=r"ends in '.txt'; wanted a bag \(.db3 .mcap\), a video"):
        open_source(str(tmp_path / 'notes.txt'))


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
@pytest.mark.parametrize('name', ['a.db3', 'a.mp4'])
def test_a_file_that_may_not_be_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'secret')
    path.chmod(0)
    with pytest.raises(SourceError, match='this user may not read it'):
        open_source(str(path))


def test_a_folder_of_clouds_is_played_in_the_order_of_its_names(tmp_path):
    for name in ('sweep10.bin', 'sweep2.bin', 'sweep1.bin'):
        number = float(name.removeprefix('sweep').removesuffix('.bin'))
        (tmp_path / name).write_bytes(np.full((3, 4), number, np.float32).tobytes())
    (tmp_path / 'sweep3.bin').write_bytes(b'cut short')
    told = []
    source = open_source(str(tmp_path), frame_rate=10.0, warn=told.append)
    assert (source.summary, source.live, source.topics) == (
        f'4 clouds of {tmp_path.name}/', False, {},
    )  # fmt: skip
    for _ in range(2):
        sweeps = list(source)
        assert [each.t_ns for each in sweeps] == [0, 100 * MS, 200 * MS]
        assert [each.cloud.points[0, 0] for each in sweeps] == [1, 2, 10]
    assert len(told) == 1
    assert 'sweep3.bin: 9 bytes; wanted 16' in told[0]
    one = open_source(str(tmp_path / 'sweep1.bin'))
    assert (one.summary, len(list(one))) == ('1 cloud of sweep1.bin', 1)
    with pytest.raises(SourceError, match='none of 1 clouds could be read'):
        list(open_source(str(tmp_path / 'sweep3.bin'), warn=told.append))
