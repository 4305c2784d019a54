# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The monitor node over real ROS, watching a board made of files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
import gc
import json
import math
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment: . tools/env.sh')
pytestmark = [pytest.mark.ros, pytest.mark.slow]

import rclpy  # noqa: E402
from rclpy.executors import MultiThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSDurabilityPolicy  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402

from jetson_monitor import scenarios  # noqa: E402
from jetson_monitor.config import MonitorConfig  # noqa: E402
from jetson_monitor.errors import ConfigError  # noqa: E402


class Bench:
    """A monitor node, and another node that hears all it says."""

    def __init__(self, root, **parameters):
        from diagnostic_msgs.msg import DiagnosticArray
        from std_msgs.msg import String

        from jetson_monitor.node import MonitorNode
        from trt_interfaces.msg import JetsonStats

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        given = {'root': str(root), 'source': 'sysfs', 'period_s': 0.1,
                 'diagnostics_period_s': 0.1, 'release_s': 0.2}  # fmt: skip
        overrides = [Parameter(name, value=each) for name, each in (given | parameters).items()]
        self.executor = MultiThreadedExecutor(3, context=self.context)
        self.heard = defaultdict(list)
        self.closed = threading.Event()
        try:
            self.node = MonitorNode(context=self.context, parameter_overrides=overrides)
        except BaseException:
            rclpy.try_shutdown(context=self.context)
            raise
        self.listener = rclpy.create_node('listener', context=self.context)
        self.hear(DiagnosticArray, '/diagnostics')
        self.hear(JetsonStats, '/jetson_monitor/stats')
        self.hear(String, '/jetson_monitor/events')
        self.executor.add_node(self.node)
        self.executor.add_node(self.listener)
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def spin(self):
        while not self.closed.is_set():
            self.executor.spin_once(timeout_sec=0.05)

    def hear(self, kind, topic, qos=10):
        self.listener.create_subscription(kind, topic, self.heard[topic].append, qos)

    def wait(self, found, what, timeout_s=15.0):
        deadline = time.monotonic() + timeout_s
        while not (got := found()):
            assert time.monotonic() < deadline, f'waited for {what}'
            time.sleep(0.02)
        return got

    def status(self, name, level=None):
        """Return the newest status of a component, once it has that level."""

        def newest():
            if not self.heard['/diagnostics']:
                return None
            found = {each.name: each for each in self.heard['/diagnostics'][-1].status}
            status = found.get(f'jetson_monitor: {name}')
            return status if level is None or (status and status.level == bytes([level])) else None

        return self.wait(newest, f'{name} at level {level}')

    def stats(self):
        return self.wait(lambda: self.heard['/jetson_monitor/stats'], 'stats')[-1]

    def call(self, kind, service, request):
        client = self.listener.create_client(kind, service)
        assert client.wait_for_service(timeout_sec=10)
        future = client.call_async(request)
        self.wait(future.done, f'an answer of {service}')
        return future.result()

    def close(self):
        if self.closed.is_set():
            return
        self.closed.set()
        self.thread.join()
        self.executor.shutdown()
        self.node.destroy_node()
        self.listener.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def bench(fake_board):
    benches = []

    def start(board='orin_nano', **parameters):
        board = fake_board(board)
        benches.append(Bench(board.root, **parameters))
        benches[-1].board = board
        return benches[-1]

    yield start
    for each in benches:
        each.close()
    benches.clear()
    gc.collect()  # until then rclpy shows a node, and tests that follow would find it


def test_diagnostics_are_as_rep_107_wants_them(bench):
    running = bench()
    running.status('thermal', 0)
    message = running.heard['/diagnostics'][-1]

    assert message.header.stamp.sec > 0
    names = [each.name for each in message.status]
    assert len(names) == len(set(names))
    assert {f'jetson_monitor: {part}' for part in (
        'board', 'preflight', 'thermal', 'throttling', 'power', 'memory', 'clocks', 'fan',
        'storage', 'source', 'load',
    )} == set(names)  # fmt: skip
    assert {each.hardware_id for each in message.status} == {'1420123456789'}
    values = {each.key: each.value for each in running.status('thermal').values}
    assert float(values['temp_tj_c']) > 0
    assert float(values['trip_tj_passive_c']) > 0


def test_stats_are_numbers_by_name_with_nan_for_unknown(bench):
    running = bench()
    running.wait(lambda: len(running.heard['/jetson_monitor/stats']) > 1, 'two messages')
    stats = running.stats()

    assert stats.power_mode == 'MAXN_SUPER'
    assert stats.gpu_load_percent == pytest.approx(43.0)
    assert math.isnan(stats.emc_load_percent)
    assert len(stats.core_clock_mhz) == 6
    temperatures = dict(zip(stats.zones, stats.temperature_c, strict=True))
    headrooms = dict(zip(stats.zones, stats.headroom_c, strict=True))
    assert temperatures['tj'] > 0
    assert headrooms['tj'] > 0
    assert math.isnan(headrooms['nvme'])
    assert stats.rails == ['vdd_cpu_gpu_cv', 'vdd_in', 'vdd_soc']
    powers = dict(zip(stats.rails, stats.rail_mw, strict=True))
    assert stats.total_rail == 'vdd_in'
    assert stats.total_mw == pytest.approx(powers['vdd_in'])
    assert stats.mean_mw == pytest.approx(powers['vdd_in'], rel=1e-3)
    assert stats.energy_j > 0
    assert math.isnan(stats.joules_per_inference)
    assert stats.counters == ['oc1_events', 'oc2_events', 'oc3_events', 'oom_kills']
    assert list(stats.fans) == ['pwmfan']
    assert stats.fan_rpm[0] == 1800
    assert not stats.throttled


def test_throttling_is_an_event_a_latched_flag_and_a_status(bench):
    from std_msgs.msg import Bool

    running = bench()
    throttle = f'{running.board.cooling_device("cpufreq-cpu0")}/cur_state'
    running.status('throttling', 0)
    running.board.write(throttle, 3)
    running.status('throttling', 1)
    running.hear(  # one who comes late
        Bool, '/jetson_monitor/throttled',
        QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL),
    )  # fmt: skip
    flag = running.wait(lambda: running.heard['/jetson_monitor/throttled'], 'the latched flag')
    assert flag[-1].data
    assert running.stats().throttled

    running.board.write(throttle, 0)
    running.status('throttling', 0)
    running.wait(lambda: not flag[-1].data, 'the flag to fall')
    events = [json.loads(each.data) for each in running.heard['/jetson_monitor/events']]
    assert [each['event'] for each in events] == ['throttling_began', 'throttling_ended']
    assert events[0]['message'] == 'throttled by cpufreq_cpu0'


def test_heating_up_until_throttled_and_back_as_all_who_listen_hear_it(bench):
    running = bench(stale_periods=50.0)  # a busy machine that runs this is no part of the story
    running.status('throttling', 0)
    running.board.play(scenarios.heat, lambda seconds: time.sleep(seconds / 10))
    running.status('thermal', 0)
    courses = defaultdict(list)
    for message in running.heard['/diagnostics']:
        for each in message.status:
            course = courses[each.name.removeprefix('jetson_monitor: ')]
            if course[-1:] != [each.level]:
                course.append(each.level)
    assert courses['thermal'][:3] == [b'\0', b'\1', b'\2']  # how it falls depends on the pace
    assert courses['throttling'] == [b'\0', b'\1', b'\2', b'\0']
    kinds = [json.loads(each.data)['event'] for each in running.heard['/jetson_monitor/events']]
    assert kinds == ['throttling_began', 'throttling_ended']
    hottest = max(running.heard['/jetson_monitor/stats'], key=lambda each: max(each.temperature_c))
    assert max(hottest.temperature_c) == 102
    assert hottest.throttled


def test_a_source_that_dies_and_returns(bench, tmp_path):
    alive = tmp_path / 'alive'
    alive.touch()
    program = tmp_path / 'tegrastats'
    program.write_text(
        f"#!/bin/sh\nwhile sleep 0.05; do [ -e {alive} ] && echo 'RAM 714/1876MB tj@45.5C'; done\n"
    )
    program.chmod(0o755)
    running = bench(source='tegrastats', tegrastats=[str(program)], period_s=0.4)
    running.status('thermal', 0)
    assert 'source tegrastats' not in running.status('preflight').message, 'it spoke in time'

    alive.unlink()
    assert 'nothing is read of the board' in running.status('source', 2).message
    assert 'nothing is known of it any more' in running.status('thermal', 3).message
    assert not running.stats().zones
    alive.touch()
    running.status('source', 0)
    assert 'hottest: tj 45.5 C' in running.status('thermal', 0).message
    kinds = [json.loads(each.data)['event'] for each in running.heard['/jetson_monitor/events']]
    assert kinds == ['source_lost', 'source_returned']


def test_an_under_voltage_event_is_an_error_that_says_what_to_do(bench):
    running = bench()
    running.status('power', 0)
    running.board.count_over_current(1)
    status = running.status('power', 2)
    assert 'oc1: 1 under-voltage events lately' in status.message
    assert 'check supply, connector and cable' in status.message


def test_the_board_is_judged_also_while_the_clock_of_a_simulation_stands_still(bench):
    running = bench(use_sim_time=True)
    running.status('thermal', 0)
    assert running.node.get_clock().now().nanoseconds == 0


def test_temperatures_are_published_where_they_are_wanted(bench):
    from sensor_msgs.msg import Temperature

    running = bench(temperatures=True)
    running.hear(Temperature, '/jetson_monitor/temperature/tj')
    message = running.wait(lambda: running.heard['/jetson_monitor/temperature/tj'], 'a zone')[-1]
    assert message.temperature == pytest.approx(
        dict(zip(running.stats().zones, running.stats().temperature_c, strict=True))['tj']
    )
    assert message.header.frame_id == 'tj'


def test_energy_is_joined_with_inferences(bench):
    from trt_interfaces.msg import InferenceStats

    running = bench(inference_stats='/inference/stats')
    publisher = running.listener.create_publisher(InferenceStats, '/inference/stats', 10)
    frames = 0

    def joined():
        nonlocal frames
        frames += 1
        publisher.publish(InferenceStats(frames=frames))
        return math.isfinite(running.stats().joules_per_inference)

    running.wait(joined, 'energy of an inference')
    stats = running.stats()
    assert stats.joules_per_inference > 0
    assert stats.milliwatt_hours_per_inference == pytest.approx(stats.joules_per_inference / 3.6)


def test_a_hanging_sensor_makes_everything_stale(bench, monkeypatch):
    from jetson_monitor import node
    from jetson_monitor.monitor import open_configured

    hanging = threading.Event()
    released = threading.Event()

    def opened(config):
        sources = open_configured(config)
        read = sources.read

        def maybe_hang():
            if hanging.is_set():
                released.wait(20)
            return read()

        sources.read = maybe_hang
        return sources

    monkeypatch.setattr(node, 'open_configured', opened)
    running = bench()
    running.status('thermal', 0)
    hanging.set()
    status = running.status('thermal', 3)
    assert 'no sample for' in status.message
    hanging.clear()
    released.set()
    running.status('thermal', 0)


def test_a_machine_that_is_no_jetson_says_so_and_is_watched(bench):
    running = bench('pc')
    assert 'not a Jetson' in running.status('board', 0).message
    running.status('memory', 0)
    assert math.isnan(running.stats().total_mw)


def test_services_are_not_offered_unless_allowed(bench):
    running = bench()
    running.status('thermal')
    offered = [name for name, _ in running.listener.get_service_names_and_types()]
    assert not [name for name in offered if '/set_power_mode' in name or 'jetson_clocks' in name]


def test_services_refuse_what_is_not_on_the_list_and_answer_what_is_so_already(bench):
    from std_srvs.srv import SetBool

    from trt_interfaces.srv import SetByName

    running = bench(allow_control=True, allowed_power_modes=['MAXN_SUPER'])
    service = '/jetson_monitor/set_power_mode'
    answer = running.call(SetByName, service, SetByName.Request(name='7W'))
    assert not answer.success
    assert 'allowed_power_modes has: MAXN_SUPER' in answer.message
    answer = running.call(SetByName, service, SetByName.Request(name='MAXN_SUPER'))
    assert answer.success
    assert answer.message == 'power mode is MAXN_SUPER already'
    answer = running.call(SetBool, '/jetson_monitor/set_jetson_clocks', SetBool.Request(data=True))
    assert not answer.success
    assert 'set allow_jetson_clocks to true' in answer.message


def test_every_setting_is_a_described_parameter(bench):
    node = bench().node
    for each in fields(MonitorConfig):
        descriptor = node.describe_parameter(each.name)
        assert descriptor.description, each.name
        assert descriptor.read_only


def test_what_is_not_allowed_is_refused(fake_board):
    with pytest.raises(ConfigError, match=r'period_s.*wanted 0.1 to 60'):
        Bench(fake_board('pc').root, period_s=1000.0)
    with pytest.raises(ConfigError, match='with a decimal point'):
        Bench(fake_board('pc').root, release_s=1)


def test_a_recording_of_the_node_is_one_that_can_be_played(bench, tmp_path):
    path = tmp_path / 'robot.csv'
    running = bench(record=str(path))
    running.wait(lambda: len(running.heard['/jetson_monitor/stats']) > 4, 'five samples')
    running.close()  # or it would be heard beside the other one
    replayed = Bench(tmp_path, source='replay', replay_file=str(path))
    try:
        assert 'of which board is not known' in replayed.status('board').message
        assert replayed.stats().power_mode == 'MAXN_SUPER'
        assert 'hottest: ' in replayed.status('thermal').message
    finally:
        replayed.close()


def run_node(*parameters):
    arguments = [word for each in parameters for word in ('-p', each)]
    return subprocess.Popen(
        [sys.executable, '-m', 'jetson_monitor.entry', '--ros-args', *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_quietly(fake_board, number):
    process = run_node(f'root:={fake_board("thor").root}', 'source:=sysfs')
    assert 'NVIDIA' in process.stdout.readline()
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert 'Traceback' not in output


@pytest.mark.parametrize(
    ('parameter', 'words'),
    [
        ('period_s:=-1.0', 'period_s'),
        ('source:=magic', "source is 'magic'; wanted one of auto, sysfs"),
        ('inference_stats:=a b', "inference_stats is 'a b', which names no topic"),
        ('replay_file:=/nowhere', None),
        ('record:=/proc/x.csv', '/proc/x.csv cannot be written'),
        ('tegrastats:=[/nowhere/tegrastats]', None),
    ],
)
def test_a_node_that_cannot_start_says_why_in_one_line(parameter, words):
    if words is None:
        parameters = [parameter, f'source:={"replay" if "replay" in parameter else "tegrastats"}']
        words = '/nowhere'
    else:
        parameters = [parameter]
    process = run_node(*parameters)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert words in output
    assert 'Traceback' not in output
