# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the monitor can be told; the one place with its defaults, thresholds included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jetson_monitor.errors import ConfigError
from jetson_monitor.parameters import check
from jetson_monitor.parameters import setting
from jetson_monitor.parameters import settings

_PERCENT: dict[str, Any] = {'minimum': 0.0, 'maximum': 100.0}
_UNDER_VOLTAGE, _AVERAGE, _INSTANTANEOUS = 'under_voltage', 'average', 'instantaneous'
_MEANINGS = (_UNDER_VOLTAGE, _AVERAGE, _INSTANTANEOUS, 'unknown')


@dataclass(frozen=True)
class MonitorConfig:
    """Parameters of the monitor; all are read once, at the start."""

    # --- where from, how often, where to
    source: str = setting(
        'auto',
        'What the board is read from; auto takes the richest that works, value by value.',
        choices=('auto', 'sysfs', 'tegrastats', 'jtop', 'replay'),
    )
    replay_file: str = setting('', 'Recording or tegrastats log that source: replay plays.')
    tegrastats: tuple[str, ...] = setting(
        ('tegrastats',), 'Program that source: tegrastats runs, with its arguments.'
    )
    root: str = setting('/', 'Folder that stands for /: a fake board, or the host in a container.')
    mounts: tuple[str, ...] = setting(('/',), 'Mount points whose room is watched.')
    period_s: float = setting(
        1.0, 'Seconds between two samples, and between two messages on ~/stats.', minimum=0.1,
        maximum=60.0,
    )  # fmt: skip
    diagnostics_period_s: float = setting(
        1.0, 'Seconds between two messages on /diagnostics; REP-107 wants 1.', minimum=0.1,
        maximum=4.0,
    )  # fmt: skip
    stale_periods: float = setting(
        3.0, 'Periods without a sample after which everything is reported as stale.', minimum=1.0
    )
    temperatures: bool = setting(
        False, 'Publish each zone also as sensor_msgs/Temperature on ~/temperature/<zone>.'
    )
    inference_stats: str = setting(
        '', 'Topic of trt_interfaces/InferenceStats, for energy per inference; empty: none.'
    )
    energy_window_s: float = setting(10.0, 'Seconds over which energy is averaged.', minimum=1.0)
    record: str = setting('', 'File to record every sample in, .csv or .jsonl; empty: none.')
    record_mib: float = setting(64.0, 'Size at which a new recording is begun.', minimum=0.01)
    record_files: int = setting(
        5, 'How many recordings are kept, the newest included.', minimum=1, maximum=1000
    )
    event_file: str = setting('', 'File to note events in, a JSON object a line; empty: none.')
    metrics_port: int = setting(
        0, 'TCP port of the Prometheus endpoint; 0: none.', minimum=0, maximum=65535
    )
    metrics_address: str = setting(
        '127.0.0.1', 'Address that endpoint listens on; 0.0.0.0 shows it to the whole network.'
    )

    # --- what a level needs to rise and to fall
    release_s: float = setting(
        5.0, 'Seconds for which all must be well before a level falls.', minimum=0.0
    )
    event_window_s: float = setting(
        60.0, 'Seconds for which a counted event is reported, and rates are averaged.', minimum=1.0
    )
    hysteresis_c: float = setting(
        2.0, 'Degrees beyond a limit that a temperature must recover.', minimum=0.0
    )
    hysteresis_percent: float = setting(
        2.0, 'Percentage points beyond a limit that a share must recover.', minimum=0.0
    )

    # --- heat
    headroom_warn_c: float = setting(
        10.0, 'Warn when a zone is closer than this to the trip at which it is throttled.',
        minimum=0.0,
    )  # fmt: skip
    headroom_error_c: float = setting(
        3.0, 'Error when a zone is closer than this to the trip at which the board switches off.',
        minimum=0.0,
    )  # fmt: skip
    fan_min_percent: float = setting(
        30.0, 'Drive from which a fan is expected to turn.', **_PERCENT
    )
    fan_hold_s: float = setting(
        10.0, 'Seconds that a driven fan may stand still before it is an error.', minimum=0.0
    )

    # --- power
    under_voltage_mv: float = setting(
        4750.0, 'Error when the input rail is below this; 0: not judged.', minimum=0.0
    )
    power_budget_mw: float = setting(
        0.0, 'What the supply can give, against which the total is judged; 0: not known.',
        minimum=0.0,
    )  # fmt: skip
    power_warn_percent: float = setting(
        90.0, 'Warn above this share of the budget, or of the current limit of a rail.',
        minimum=0.0,
    )  # fmt: skip
    power_error_percent: float = setting(
        100.0, 'Error above this share of the budget, or of the current limit of a rail.',
        minimum=0.0,
    )  # fmt: skip
    power_hold_s: float = setting(
        10.0, 'Seconds that a share of power or current must last to count.', minimum=0.0
    )
    over_current_warn_per_s: float = setting(
        20.0, 'Warn above so many instantaneous over-current events a second, averaged over '
        'event_window_s; a few are normal at full power.', minimum=0.0,
    )  # fmt: skip
    oc_tegra234: tuple[str, ...] = setting(
        (_UNDER_VOLTAGE, _AVERAGE, _INSTANTANEOUS),
        'What the counters oc1, oc2, oc3 of Orin mean.', choices=_MEANINGS,
    )  # fmt: skip
    oc_tegra194: tuple[str, ...] = setting(
        (_AVERAGE, _UNDER_VOLTAGE, _INSTANTANEOUS),
        'What the counters oc1, oc2, oc3 of Xavier mean.', choices=_MEANINGS,
    )  # fmt: skip

    # --- clocks
    expected_power_mode: str = setting(
        '', 'Name of the power mode that is wanted, such as MAXN; warn of any other. Empty: any.'
    )
    expect_locked: bool = setting(
        False, 'Warn when the clocks are not locked, as jetson_clocks locks them.'
    )
    clock_cap_percent: float = setting(
        80.0, 'Error when a core really runs below this share of the clock it reports.', **_PERCENT
    )
    clock_cap_hold_s: float = setting(
        3.0, 'Seconds that such a hidden cap must last to count.', minimum=0.0
    )

    # --- memory
    memory_warn_percent: float = setting(
        15.0, 'Warn when less of the memory is available.', **_PERCENT
    )
    memory_error_percent: float = setting(
        5.0, 'Error when less of the memory is available.', **_PERCENT
    )
    swap_warn_percent: float = setting(75.0, 'Warn when more of the swap is used.', **_PERCENT)
    swap_growth_warn_mib: float = setting(
        256.0, 'Warn when the used swap grew by more than this within event_window_s.', minimum=0.0
    )
    cma_warn_percent: float = setting(
        10.0, 'Warn when less of the contiguous memory is free; 0: not judged, for boards that '
        'are always low.', **_PERCENT,
    )  # fmt: skip
    cma_error_percent: float = setting(
        3.0, 'Error when less of the contiguous memory is free; 0: not judged.', **_PERCENT
    )
    fragmentation_warn_kib: float = setting(
        4096.0, 'Warn when the largest free block is smaller; 0: not judged.', minimum=0.0
    )
    fragmentation_hold_s: float = setting(
        30.0, 'Seconds that the lack of large blocks must last to count.', minimum=0.0
    )
    emc_warn_percent: float = setting(
        90.0, 'Warn when the memory bus is busier than this while the GPU is not.', **_PERCENT
    )
    emc_hold_s: float = setting(
        10.0, 'Seconds that the memory bus must be busy to count.', minimum=0.0
    )

    # --- storage
    disk_warn_percent: float = setting(
        85.0, 'Warn when more of a mount is used, in bytes or inodes.', **_PERCENT
    )
    disk_error_percent: float = setting(
        95.0, 'Error when more of a mount is used, in bytes or inodes.', **_PERCENT
    )

    # --- changes of the board: refused unless switched on here
    allow_control: bool = setting(
        False, 'Offer the services that change power mode, clocks and fan profile.'
    )
    allowed_power_modes: tuple[str, ...] = setting(
        (), 'Names of the power modes that may be set; empty: none.'
    )
    allow_jetson_clocks: bool = setting(False, 'Let jetson_clocks be switched on and off.')
    allowed_fan_profiles: tuple[str, ...] = setting(
        (), 'Names of the fan profiles that may be set; empty: none.'
    )
    fan_profile_command: str = setting(
        '', 'Full path of a program of your own that sets the fan profile named to it.'
    )

    def __post_init__(self) -> None:
        """Refuse what is not allowed.

        Raises:
            ConfigError: A value is not allowed, or two fields contradict each other.
        """
        for name in settings(type(self)):
            check(type(self), name, getattr(self, name))
        for low, high in (
            ('memory_error_percent', 'memory_warn_percent'),
            ('cma_error_percent', 'cma_warn_percent'),
            ('disk_warn_percent', 'disk_error_percent'),
            ('power_warn_percent', 'power_error_percent'),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(
                    f'{low} is {getattr(self, low):g} and {high} is {getattr(self, high):g}; '
                    f'wanted {low} not above {high}'
                )
        if self.source == 'replay' and not self.replay_file:
            raise ConfigError('source is replay; wanted replay_file to name the log to play')
        if self.fan_profile_command and not self.fan_profile_command.startswith('/'):
            raise ConfigError(
                f'fan_profile_command is {self.fan_profile_command!r}; wanted a full path, as '
                'sudoers needs it'
            )
