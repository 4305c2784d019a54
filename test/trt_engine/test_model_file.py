# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Downloads are whole, verified and resumable; a wrong file never gets the final name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
import fcntl
import hashlib
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
import logging
from pathlib import Path
import threading

import pytest

from trt_engine import fetch_model as command
from trt_engine import model_file
from trt_engine.card import Card
from trt_engine.card import parse_card
from trt_engine.errors import FetchError
from trt_engine.errors import ModelFileError
from trt_engine.errors import ModelNotFetchedError
from trt_engine.model_file import cached_path
from trt_engine.model_file import fetch_model
from trt_engine.model_file import record_path
from trt_engine.model_file import resolve_model

pytestmark = pytest.mark.slow

BODY = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server on this machine does, and what it was asked."""

    url: str = ''
    body: bytes = BODY
    etag: str = '"v1"'
    ranges: bool = True
    wrong_range: bool = False
    cut_after: int | None = None
    length: bool = True
    status: int = 200
    kind: str = 'application/octet-stream'
    redirect: str = ''
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get('Range')
            state.asked.append(asked)
            if state.redirect:
                self.send_response(302)
                self.send_header('Location', state.redirect)
                self.end_headers()
                return
            if state.status != 200:
                self.send_error(state.status)
                return
            start = 0
            fresh = self.headers.get('If-Range', state.etag) == state.etag
            if asked and state.ranges and fresh:
                start = int(asked.removeprefix('bytes=').removesuffix('-'))
                if start >= len(state.body):
                    self.send_response(416)
                    self.send_header('Content-Range', f'bytes */{len(state.body)}')
                    self.end_headers()
                    return
                said = start + 1 if state.wrong_range else start
                self.send_response(206)
                end = len(state.body) - 1
                self.send_header('Content-Range', f'bytes {said}-{end}/{len(state.body)}')
            else:
                self.send_response(200)
            if state.etag:
                self.send_header('ETag', state.etag)
            if state.length:
                self.send_header('Content-Length', str(len(state.body) - start))
            self.send_header('Content-Type', state.kind)
            self.end_headers()
            self.wfile.write(state.body[start : state.cut_after])

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that hangs up is part of the tests

    server = Server(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    state.url = f'http://127.0.0.1:{server.server_port}/releases/net.onnx'
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def card(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    text = (Path(__file__).parents[2] / 'config/models/yolox_nano.yaml').read_text()
    shipped = parse_card(text, tmp_path / 'yolox_nano.yaml')
    return replace(shipped, model=replace(shipped.model, source=site.url, sha256=DIGEST))


@pytest.fixture
def loose(card: Card) -> Card:
    return replace(card, model=replace(card.model, sha256=None))


def leftovers(card: Card) -> list[str]:
    return sorted(path.name for path in cached_path(card).parent.iterdir())


def test_downloads_verifies_and_reports_progress(card: Card, site: Site, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    path = fetch_model(card, lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == BODY
    assert path.is_relative_to(tmp_path / 'cache/jetson_perception/models')
    assert path.name == 'net.onnx'
    assert steps[0] == (0, len(BODY))
    assert steps[-1] == (len(BODY), len(BODY))
    assert leftovers(card) == ['net.onnx']
    assert resolve_model(card) == path
    assert fetch_model(card) == path
    assert len(site.asked) == 1
    fetch_model(card, force=True)
    assert site.asked == [None, None]


def test_says_which_command_downloads(card: Card) -> None:
    with pytest.raises(ModelNotFetchedError, match=r'run `ros2 run trt_engine fetch_model .*yolox'):
        resolve_model(card)


def test_a_cut_transfer_is_resumed(card: Card, site: Site) -> None:
    site.cut_after = 300_000
    with pytest.raises(FetchError, match=f'300000 of {len(BODY)} bytes|IncompleteRead'):
        fetch_model(card)
    assert leftovers(card) == ['net.onnx.part', 'net.onnx.part.etag']
    site.cut_after = None
    assert fetch_model(card).read_bytes() == BODY
    assert site.asked == [None, 'bytes=300000-']
    assert leftovers(card) == ['net.onnx']


def test_a_server_without_ranges_starts_again(card: Card, site: Site) -> None:
    site.cut_after = 1000
    with pytest.raises(FetchError):
        fetch_model(card)
    site.cut_after, site.ranges = None, False
    assert fetch_model(card).read_bytes() == BODY
    assert site.asked == [None, 'bytes=1000-']


def test_a_file_that_changed_meanwhile_starts_again(loose: Card, site: Site) -> None:
    site.cut_after = 1000
    with pytest.raises(FetchError):
        fetch_model(loose)
    site.cut_after, site.body, site.etag = None, BODY[::-1], '"v2"'
    assert fetch_model(loose).read_bytes() == BODY[::-1]


def test_without_digest_and_validator_nothing_is_resumed(loose: Card, site: Site) -> None:
    site.etag, site.cut_after = '', 1000
    with pytest.raises(FetchError):
        fetch_model(loose)
    site.cut_after = None
    assert fetch_model(loose).read_bytes() == BODY
    assert site.asked == [None, None]


def test_a_part_that_is_whole_already_is_taken(card: Card, site: Site) -> None:
    part = cached_path(card).with_name('net.onnx.part')
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY)
    assert fetch_model(card).read_bytes() == BODY
    assert site.asked == [f'bytes={len(BODY)}-']


def test_a_part_that_is_too_long_is_thrown_away(card: Card, site: Site) -> None:
    part = cached_path(card).with_name('net.onnx.part')
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY + b'more')
    assert fetch_model(card).read_bytes() == BODY
    assert site.asked == [f'bytes={len(BODY) + 4}-', None]


def test_another_range_than_asked_is_refused(card: Card, site: Site) -> None:
    site.cut_after = 1000
    with pytest.raises(FetchError):
        fetch_model(card)
    site.cut_after, site.wrong_range = None, True
    with pytest.raises(FetchError, match="sent 'bytes 1001', wanted bytes 1000"):
        fetch_model(card)
    assert leftovers(card) == []


def test_a_mismatch_names_both_digests_and_keeps_nothing(card: Card, site: Site) -> None:
    site.body = b'evil'
    with pytest.raises(FetchError) as error:
        fetch_model(card)
    assert DIGEST in str(error.value)
    assert hashlib.sha256(b'evil').hexdigest() in str(error.value)
    assert leftovers(card) == []


def test_a_first_download_is_recorded_and_later_ones_held_to_it(
    loose: Card, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        path = fetch_model(loose)
    assert f'recorded {DIGEST}' in caplog.text
    assert record_path(path).read_text() == f'{DIGEST}  net.onnx\n'
    assert resolve_model(loose) == path
    site.body, site.etag = b'another', '"v2"'
    with pytest.raises(FetchError, match=r'recorded by the first download in .*delete that'):
        fetch_model(loose, force=True)
    assert path.read_bytes() == BODY
    path.write_bytes(b'damaged')
    with pytest.raises(ModelFileError, match=f'wanted {DIGEST}; fetch_model --force'):
        resolve_model(loose)
    record_path(path).write_text('?')
    with pytest.raises(ModelFileError, match=r"holds '\?', wanted a sha256; delete it"):
        resolve_model(loose)


@pytest.mark.parametrize('status', [404, 500])
def test_http_errors_are_named(card: Card, site: Site, status: int) -> None:
    site.status = status
    with pytest.raises(FetchError, match=f'the server answered {status}'):
        fetch_model(card)
    assert not cached_path(card).exists()


def test_a_web_page_is_no_model(loose: Card, site: Site) -> None:
    site.kind = 'text/html; charset=utf-8'
    with pytest.raises(FetchError, match='a web page instead of a model'):
        fetch_model(loose)
    assert not cached_path(loose).exists()


def test_unknown_length_needs_a_digest(card: Card, loose: Card, site: Site) -> None:
    site.length = False
    with pytest.raises(FetchError, match='does not say how long'):
        fetch_model(loose)
    assert fetch_model(card).read_bytes() == BODY


def test_endless_transfers_end(card: Card, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, 'MAX_BYTES', 500_000)
    with pytest.raises(FetchError, match='more than 500000 bytes'):
        fetch_model(card)
    assert leftovers(card) == []


def test_an_unreachable_server_is_named(card: Card) -> None:
    gone = replace(card, model=replace(card.model, source='http://127.0.0.1:1/net.onnx'))
    with pytest.raises(FetchError, match=r'127\.0\.0\.1:1/net\.onnx: the download to .* failed'):
        fetch_model(gone)


def test_redirects_never_leave_https(site: Site) -> None:
    import urllib.request

    handler = model_file._NoDowngrade()
    request = urllib.request.Request('https://example.org/net.onnx')
    with pytest.raises(FetchError, match='which is not https; refused'):
        handler.redirect_request(request, None, 302, '', None, site.url)  # type: ignore[arg-type]


def test_redirects_are_followed(card: Card, site: Site) -> None:
    site.redirect = site.url
    with pytest.raises(FetchError, match='302'):  # in circles, until urllib has enough
        fetch_model(card)
    assert len(site.asked) > 1


def test_two_downloads_at_once_are_refused(card: Card) -> None:
    part = cached_path(card).with_name('net.onnx.part')
    part.parent.mkdir(parents=True)
    with part.open('ab') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match='another download of this file is running'):
            fetch_model(card)


def test_urls_have_a_place_each(card: Card) -> None:
    def place(source: str) -> Path:
        return cached_path(replace(card, model=replace(card.model, source=source)))

    urls = [
        'https://a.org/x.onnx',
        'https://b.org/x.onnx',
        'https://a.org/v2/x.onnx',
        'https://a.org/x.onnx?v=2',
        'https://a.org/v2%2Fx.onnx',
    ]
    assert len({place(url) for url in urls}) == len(urls)
    assert place(urls[0]).name == 'x.onnx'


def test_local_paths_are_relative_to_the_card(card: Card, tmp_path: Path) -> None:
    local = replace(card, model=replace(card.model, source='net.onnx'))
    with pytest.raises(ModelFileError, match=r'there is no model file .*net\.onnx; put it there'):
        resolve_model(local)
    (tmp_path / 'net.onnx').write_bytes(BODY)
    assert resolve_model(local) == tmp_path / 'net.onnx'
    assert fetch_model(local) == tmp_path / 'net.onnx'
    (tmp_path / 'net.onnx').write_bytes(b'x')
    with pytest.raises(ModelFileError, match='do not belong together'):
        resolve_model(local)


def test_packages_are_found(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = replace(card, model=replace(card.model, source='package://pkg/models/net.onnx'))
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "a"}:{tmp_path / "b"}')
    with pytest.raises(ModelFileError, match="there is no package 'pkg' in AMENT_PREFIX_PATH"):
        resolve_model(packaged)
    folder = tmp_path / 'b/share/pkg/models'
    folder.mkdir(parents=True)
    (folder / 'net.onnx').write_bytes(BODY)
    assert resolve_model(packaged) == folder / 'net.onnx'


@pytest.fixture
def card_file(site: Site, card: Card, tmp_path: Path) -> Path:
    text = (Path(__file__).parents[2] / 'config/models/yolox_nano.yaml').read_text()
    lines = [
        f'  source: {site.url}'
        if line.startswith('  source:')
        else f'  sha256: {DIGEST}'
        if line.startswith('  sha256:')
        else line
        for line in text.splitlines()
    ]
    path = tmp_path / 'yolox_nano.yaml'
    path.write_text('\n'.join(lines))
    return path


def test_command_downloads(card_file: Path, card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(card_file)]) == 0
    assert str(cached_path(card)) in capsys.readouterr().out


def test_command_says_what_is_wrong(
    card_file: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.status = 404
    assert command.main([str(card_file)]) == 1
    assert 'error: ' in (errors := capsys.readouterr().err)
    assert 'the server answered 404' in errors
    assert command.main(['no_such_card']) == 1
    assert "error: no card 'no_such_card'" in capsys.readouterr().err


def test_command_ends_cleanly_on_ctrl_c(
    card_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'fetch_model', interrupted)
    assert command.main([str(card_file)]) == 130
    assert 'run it again to go on' in capsys.readouterr().err


def test_command_draws_a_bar_on_a_terminal(
    card_file: Path, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rich')
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    assert command.main([str(card_file)]) == 0
    assert cached_path(card).is_file()
