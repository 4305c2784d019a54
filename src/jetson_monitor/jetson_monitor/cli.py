# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The commands: watch, record, parse, report, preflight. None of them needs ROS.

They end with 0, with 1 where something went wrong or is not as it should be, and with 2 where
they were called wrongly.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
import json
import os
from pathlib import Path
import sys
import time
from typing import Any

from jetson_monitor.config import MonitorConfig
from jetson_monitor.errors import ConfigError
from jetson_monitor.errors import MonitorError
from jetson_monitor.health import Judge
from jetson_monitor.monitor import configured_board
from jetson_monitor.monitor import Monitor
from jetson_monitor.monitor import open_configured
from jetson_monitor.parameters import check
from jetson_monitor.parameters import settings
from jetson_monitor.preflight import preflight
from jetson_monitor.rules import Level
from jetson_monitor.sources import KINDS
from jetson_monitor.stop_signals import StopSignals


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; return the exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.run(given)
        print(end='', flush=True)  # also where stdout is closed, and sys.stdout None
    except MonitorError as exc:
        print(f'jetson_monitor {given.verb}: {exc}', file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read has seen enough. What is still buffered would fail once more at the end.
        _discard_output()
        return 0
    except OSError as exc:
        where = f'{exc.filename}: ' if exc.filename is not None else ''
        print(f'jetson_monitor {given.verb}: {where}{exc.strerror or exc}', file=sys.stderr)
        _discard_output()
        return 1
    except KeyboardInterrupt:
        return 1
    return status


def _discard_output() -> None:
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='jetson_monitor',
        description='Reports how the board is doing. Without a verb, it is the ROS node.',
    )
    verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')

    board = argparse.ArgumentParser(add_help=False)
    board.add_argument('--source', choices=list(KINDS), help='what is read; default: auto')
    board.add_argument('--root', help='folder that stands for /; default: /')
    board.add_argument('--replay', metavar='LOG', help='play this log instead of reading the board')
    board.add_argument(
        '--params-file', metavar='YAML', help='parameters of the node; default: their defaults'
    )
    timed = argparse.ArgumentParser(add_help=False)
    timed.add_argument('--period', type=float, metavar='S', help='seconds from sample to sample')
    timed.add_argument(
        '--seconds', type=float, metavar='S', help='stop after so long; default: at Ctrl-C'
    )

    watch = verbs.add_parser('watch', parents=[board, timed], help='show a live table')
    watch.add_argument('--once', action='store_true', help='print one table, and end')
    watch.set_defaults(run=_watch)

    record = verbs.add_parser('record', parents=[board, timed], help='record samples in a file')
    record.add_argument('file', help='what to write, .csv or .jsonl')
    record.set_defaults(run=_record)

    parse = verbs.add_parser(
        'parse', help='turn lines of tegrastats on stdin into JSON objects on stdout'
    )
    parse.set_defaults(run=_parse)

    report = verbs.add_parser('report', help='make one HTML file of a log')
    report.add_argument('log', help='recording (.csv, .jsonl) or output of tegrastats')
    report.add_argument('-o', '--output', help='what to write; default: <log>.html')
    report.set_defaults(run=_report)

    preflight = verbs.add_parser(
        'preflight', parents=[board], help='check this machine before it is used'
    )
    preflight.add_argument('--json', action='store_true', help='print JSON')
    preflight.set_defaults(run=_preflight)
    return parser


def _config(given: argparse.Namespace) -> MonitorConfig:
    """Return the configuration that the options, and the parameter file they name, make."""
    values: dict[str, Any] = _parameters(Path(given.params_file)) if given.params_file else {}
    if given.replay:
        values |= {'source': 'replay', 'replay_file': given.replay}
    options = {
        'source': given.source,
        'root': given.root,
        'period_s': getattr(given, 'period', None),
    }
    values |= {name: value for name, value in options.items() if value is not None}
    # Whoever starts a command wants what it does, not what the node would write beside it.
    return replace(MonitorConfig(**values), record='', event_file='')


def _parameters(path: Path) -> dict[str, Any]:
    """Return the settings in a ROS parameter file, those of every section of it."""
    import yaml

    try:
        sections = yaml.safe_load(path.read_text())
        found = {
            name: value
            for section in sections.values()
            for name, value in section['ros__parameters'].items()
        }
    except OSError as exc:
        raise ConfigError(f'{path} cannot be read: {exc.strerror}') from exc
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as exc:
        raise ConfigError(
            f'{path} is no parameter file; wanted YAML with <node>: ros__parameters: {exc}'
        ) from exc
    known = settings(MonitorConfig)
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ConfigError(f'{path} has {", ".join(unknown)}, which the monitor does not know')
    return {name: check(MonitorConfig, name, value) for name, value in found.items()}


def _watch(given: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.live import Live

    from jetson_monitor.table import table

    config = _config(given)
    board, known = configured_board(config)
    sources = open_configured(config)
    console = Console()
    try:
        monitor = Monitor(config, sources.read, board.soc)
        if given.once or not console.is_terminal:
            # Loads are differences: the first sample has none.
            monitor.step()
            time.sleep(min(config.period_s, 1.0))
            snapshot = monitor.step()
            if snapshot is not None:
                console.print(table(known, snapshot))
            return 0
        stop = StopSignals()
        with Live(console=console, auto_refresh=False) as live:
            for _ in _ticks(config.period_s, given.seconds, stop):
                snapshot = monitor.step()
                if snapshot is not None:
                    live.update(table(known, snapshot), refresh=True)
    finally:
        sources.close()
    return 0


def _record(given: argparse.Namespace) -> int:
    config = replace(_config(given), record=given.file)
    board, _ = configured_board(config)
    sources = open_configured(config)
    written = 0
    try:
        monitor = Monitor(config, sources.read, board.soc)
        stop = StopSignals()
        for _ in _ticks(config.period_s, given.seconds, stop):
            snapshot = monitor.step()
            if snapshot is None:
                continue
            for status in snapshot.statuses:
                if status.name == 'recording':
                    print(f'jetson_monitor record: {status.message}', file=sys.stderr)
                    return 1
            written += 1
        monitor.close()
    finally:
        sources.close()
    print(f'{written} samples in {given.file}', file=sys.stderr)
    return 0


def _ticks(period_s: float, seconds: float | None, stop: StopSignals) -> Any:
    """Yield once a period, until told to stop or so many seconds have passed."""
    start_s = time.monotonic()
    count = 0
    while not stop.is_set() and (seconds is None or count * period_s <= seconds):
        yield count
        count += 1
        stop.wait(max(0.0, start_s + count * period_s - time.monotonic()))


def _parse(given: argparse.Namespace) -> int:
    from jetson_monitor.tegrastats import parse_line

    # Bytes that are no UTF-8 must not end it: they are rubbish in one line, and named as such.
    for raw in sys.stdin.buffer:
        line = raw.decode(errors='replace').rstrip('\r\n')
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        parsed = parse_line(line)
        found: dict[str, object] = dict(parsed.values)
        if parsed.stamp is not None:
            found = {'time_local': parsed.stamp.isoformat(), **found}
        print(json.dumps({**found, 'unknown_tokens': parsed.unknown_tokens}), flush=True)
    return 0


def _report(given: argparse.Namespace) -> int:
    from jetson_monitor.replay import read_log
    from jetson_monitor.report import report

    log = Path(given.log)
    output = Path(given.output) if given.output else log.with_name(f'{log.name}.html')
    page = report(log.name, read_log(log))
    try:
        output.write_text(page, encoding='utf-8')
    except OSError as exc:
        raise MonitorError(f'{output} cannot be written: {exc.strerror}; name another') from exc
    print(f'wrote {output}')
    return 0


def _preflight(given: argparse.Namespace) -> int:
    config = _config(given)
    board, _ = configured_board(config)
    sources = open_configured(config)
    try:
        judge = Judge(config, board.soc)
        judge.judge(sources.read())
        time.sleep(config.period_s)  # the first line of tegrastats comes after a period
        sample = sources.read()
        statuses = judge.judge(sample)
        items = preflight(config, board, sample, statuses, sources.states, os.environ)
    finally:
        sources.close()
    if given.json:
        print(json.dumps([each.as_dict() for each in items], indent=2))
    else:
        for each in items:
            print(each.line())
    return 1 if any(each.level is Level.ERROR for each in items) else 0
