# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG to pixels on the GPU, through NVIDIA's nvJPEG; what it does not take is left to OpenCV.

Functions, structures and numbers are those of nvjpeg.h as the wheels nvidia-nvjpeg-cu12 12.4.0.76
and nvidia-nvjpeg 13.2.2.35 bring it, in which what is used here is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
import ctypes
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trt_engine.backend import Array
from trt_engine.cuda.memory import Event
from trt_engine.cuda.runtime import Stream
from trt_engine.errors import BackendUnavailableError
from trt_engine.errors import InferenceError
from trt_engine.picture import picture_size

# nvjpegBackend_t. For single pictures nvJPEG chooses among them by itself, as the header says.
BACKENDS: Mapping[str, int] = {'default': 0, 'hybrid': 1, 'gpu_hybrid': 2, 'hardware': 3}

_MOST_COMPONENTS = 4  # NVJPEG_MAX_COMPONENT
_BGR_INTERLEAVED = 6  # NVJPEG_OUTPUT_BGRI
_SMOOTH_CHROMA = 1 << 5  # NVJPEG_FLAGS_UPSAMPLING_WITH_INTERPOLATION, as OpenCV does it
_STATUSES = (  # nvjpegStatus_t, by number
    'SUCCESS', 'NOT_INITIALIZED', 'INVALID_PARAMETER', 'BAD_JPEG', 'JPEG_NOT_SUPPORTED',
    'ALLOCATOR_FAILURE', 'EXECUTION_FAILED', 'ARCH_MISMATCH', 'INTERNAL_ERROR',
    'IMPLEMENTATION_NOT_SUPPORTED', 'INCOMPLETE_BITSTREAM',
)  # fmt: skip
# What these say is about the picture. Whether it is damaged is for OpenCV to tell: it reads some
# that nvJPEG does not, such as those of cameras that leave the Huffman tables out.
_NOT_FOR_US = frozenset(
    ('BAD_JPEG', 'JPEG_NOT_SUPPORTED', 'IMPLEMENTATION_NOT_SUPPORTED', 'INCOMPLETE_BITSTREAM')
)
_SONAMES = ('libnvjpeg.so.13', 'libnvjpeg.so.12', 'libnvjpeg.so.11')
_TOOLKIT = '/usr/local/cuda/lib64/libnvjpeg.so'
_FUNCTIONS: Mapping[str, tuple[type, ...]] = {
    'nvjpegCreateEx': (
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p,
    ),
    'nvjpegDestroy': (ctypes.c_void_p,),
    'nvjpegJpegStateCreate': (ctypes.c_void_p, ctypes.c_void_p),
    'nvjpegJpegStateDestroy': (ctypes.c_void_p,),
    'nvjpegGetImageInfo': (
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_void_p,
    ),
    'nvjpegDecode': (
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int,
        ctypes.c_void_p, ctypes.c_void_p,
    ),
}  # fmt: skip


class _Image(ctypes.Structure):
    """As nvjpegImage_t."""

    _fields_ = (
        ('channel', ctypes.c_void_p * _MOST_COMPONENTS),
        ('pitch', ctypes.c_size_t * _MOST_COMPONENTS),
    )


@dataclass(frozen=True)
class Jpeg:
    """A picture that nvJPEG is expected to take.

    Attributes:
        data: The whole file.
        shape: Of its pixels, (height, width, 3).
    """

    data: bytes
    shape: tuple[int, int, int]


class JpegDecoder:
    """Decodes one picture after the other into memory of the GPU; one thread at a time may use it.

    Attributes:
        library: Where nvJPEG was found.
        decoded: How many pictures were decoded.
        declined: How many were left to OpenCV.
    """

    def __init__(
        self, backend: str = 'default', *, libraries: Sequence[str | Path] | None = None
    ) -> None:
        """Load nvJPEG.

        Args:
            backend: A key of `BACKENDS`.
            libraries: Where to look, in this order; None: the wheels beside this Python, which
                somebody chose to install, then the CUDA toolkit.

        Raises:
            BackendUnavailableError: nvJPEG is not installed, or none that is runs on this GPU.
        """
        self.decoded = 0
        self.declined = 0
        tried: list[str] = []
        for library in _find_libraries() if libraries is None else libraries:
            try:
                self._functions = _load(library)
                self._handle = self._create(BACKENDS[backend])
            except OSError as exc:  # it names the library
                tried.append(str(exc))
            except (BackendUnavailableError, InferenceError) as exc:
                tried.append(f'{library}: {exc}')
            else:
                self.library = str(library)
                break
        else:
            raise BackendUnavailableError(
                'nvJPEG, which decodes JPEG on the GPU, cannot be used here; pip install '
                'nvidia-nvjpeg-cu12 (CUDA 13: nvidia-nvjpeg), or install the CUDA toolkit of the '
                f'board; tried: {"; ".join(tried) or "nothing"}'
            )
        self._state = ctypes.c_void_p()
        self._image = _Image()
        self._in_hand: Jpeg | None = None
        try:
            self._call('nvjpegJpegStateCreate', self._handle, ctypes.byref(self._state))
            self._done = Event()
        except BaseException:
            self._destroy()
            raise
        self._open = True

    def read(self, data: bytes | memoryview | Array) -> Jpeg | None:
        """Return what the header of a picture says; None where OpenCV has to decode it.

        That is counted as declined: the picture is a PNG, has not three components, or is none that
        nvJPEG reads.

        Args:
            data: The whole file.

        Raises:
            ImageError: It is neither JPEG nor PNG, is cut short, or declares too many pixels.
            InferenceError: nvJPEG failed otherwise.
        """
        raw = bytes(data)
        width, height = picture_size(raw)
        components, subsampling = ctypes.c_int(), ctypes.c_int()
        widths, heights = ((ctypes.c_int * _MOST_COMPONENTS)() for _ in range(2))
        fits = raw.startswith(b'\xff\xd8') and self._takes(
            'nvjpegGetImageInfo', self._handle, raw, len(raw), ctypes.byref(components),
            ctypes.byref(subsampling), widths, heights,
        )  # fmt: skip
        # It writes as many pixels as it reads of, and room is made for as many as we read of.
        if not fits or components.value != 3 or (widths[0], heights[0]) != (width, height):
            self.declined += 1
            return None
        return Jpeg(raw, (height, width, 3))

    def decode(self, picture: Jpeg, pointer: int, stream: Stream) -> bool:
        """Put the decoding of a picture into a stream, once the picture before is done.

        It cannot be recorded in a graph: part of it runs on the CPU, in this call.

        Args:
            picture: What `read` returned.
            pointer: Where on the GPU the pixels go: uint8 of the picture's shape, blue first.
            stream: Where the work goes.

        Returns:
            Whether nvJPEG takes the picture. If not, it is counted as declined, anything may lie at
            `pointer`, and OpenCV has to decode it or to say what is wrong with it.

        Raises:
            InferenceError: nvJPEG or the GPU failed otherwise.
        """
        self._done.synchronize()  # until then the state is in use, and so may be the file
        self._in_hand = picture
        self._image.channel[0] = pointer
        self._image.pitch[0] = picture.shape[1] * picture.shape[2]
        took = self._takes(
            'nvjpegDecode', self._handle, self._state, picture.data, len(picture.data),
            _BGR_INTERLEAVED, ctypes.byref(self._image), stream.handle,
        )  # fmt: skip
        self._done.record(stream)
        if took:
            self.decoded += 1
        else:
            self.declined += 1
        return took

    def close(self) -> None:
        """Wait for the last picture and give everything back; a second call does nothing."""
        if self._open:
            self._open = False
            with suppress(InferenceError):  # whoever waits for the pixels hears of it
                self._done.synchronize()
            self._done.close()
            self._destroy()

    def _create(self, backend: int) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        try:
            self._call('nvjpegCreateEx', backend, None, None, _SMOOTH_CHROMA, ctypes.byref(handle))
        except InferenceError:  # older ones do not know that flag
            self._call('nvjpegCreateEx', backend, None, None, 0, ctypes.byref(handle))
        return handle

    def _destroy(self) -> None:
        if self._state:
            self._functions['nvjpegJpegStateDestroy'](self._state)
        self._functions['nvjpegDestroy'](self._handle)

    def _takes(self, function: str, *arguments: object) -> bool:
        """Call a function; return whether what it says of the picture is good."""
        status = self._status(function, *arguments)
        if status in _NOT_FOR_US:
            return False
        _check(function, status)
        return True

    def _call(self, function: str, *arguments: object) -> None:
        _check(function, self._status(function, *arguments))

    def _status(self, function: str, *arguments: object) -> str:
        number: int = self._functions[function](*arguments)
        return _STATUSES[number] if 0 <= number < len(_STATUSES) else f'status {number}'


def _check(function: str, status: str) -> None:
    if status == 'ARCH_MISMATCH':
        raise BackendUnavailableError(f'{function}: this GPU has not what the backend needs')
    if status != 'SUCCESS':
        raise InferenceError(
            f'{function} failed with {status}; is there a GPU with memory to spare, and a driver '
            'that is new enough for this nvJPEG?'
        )


def _find_libraries() -> Iterator[str]:
    spec = find_spec('nvidia')
    for folder in (spec and spec.submodule_search_locations) or ():
        for pattern in ('cu*/lib/libnvjpeg.so.*', 'nvjpeg/lib/libnvjpeg.so.*'):
            yield from sorted(map(str, Path(folder).glob(pattern)), reverse=True)
    yield from _SONAMES
    yield _TOOLKIT


def _load(library: str | Path) -> Mapping[str, Any]:
    """Return the functions of a library.

    Raises:
        BackendUnavailableError: It is another library of that name; Jetson Linux has one, which
            looks like libjpeg.
        OSError: It cannot be loaded.
    """
    loaded = ctypes.CDLL(str(library))
    functions = {}
    for name, arguments in _FUNCTIONS.items():
        function = getattr(loaded, name, None)
        if function is None:
            raise BackendUnavailableError(f'it is no nvJPEG of the CUDA toolkit: it lacks {name}')
        function.argtypes = arguments
        function.restype = ctypes.c_int
        functions[name] = function
    return functions
