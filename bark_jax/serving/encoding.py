"""Samples, as they come → bytes of an audio format, as soon as they are certain; played faster or slower if asked.

How samples were cut into chunks on the way changes no byte. PyAV brings FFmpeg's encoders and its filter that changes
speed and keeps pitch; WAV at the ordinary speed needs neither.
"""

import importlib
import importlib.util
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bark_jax.audio import Waveform, pcm_bytes
from bark_jax.serving.errors import ApiError

PCM_RATE = 24_000  # Hz: what clients of this API take raw samples to be
_UNKNOWN = 0xFFFFFFFF  # bytes of a WAV file whose end is not known yet
_BLOCK = 4096  # samples handed to a filter or an encoder at once
_REMEDY = "on the server: pip install 'bark-jax[serve]'"


class Format(NamedTuple):
    """How a format is written."""

    media_type: str
    container: str  # FFmpeg's name
    codec: str
    rates: tuple[int, ...] = ()  # Hz that the codec takes; empty: any
    bit_rate: int = 64_000


FORMATS = {
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame", (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    "opus": Format("audio/ogg", "ogg", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000), 32_000),
    "aac": Format("audio/aac", "adts", "aac"),
    "flac": Format("audio/flac", "flac", "flac"),
    "wav": Format("audio/wav", "wav", "pcm_s16le"),
    "pcm": Format("audio/pcm", "s16le", "pcm_s16le", (PCM_RATE,)),
}  # fmt: skip


class Encoder:
    """`push` samples, float32 [any], then `finish`; each returns the bytes that are certain by now."""

    def __init__(self, name: str, sample_rate: int, speed: float = 1.0, *, whole: bool) -> None:
        """whole: nothing is handed out before the end, so that the file knows its length. Raises ApiError."""
        check_format(name, sample_rate, speed)
        self.seconds = 0.0  # of what was pushed, at the speed it is played
        self._whole = whole
        self._rate, self._speed = sample_rate, speed
        if _needs_av(name, sample_rate, speed):
            self._writer: Any = _AvWriter(FORMATS[name], sample_rate, speed, seekable=whole)
        else:
            self._writer = _PlainWriter(sample_rate, header=name == "wav", seekable=whole)

    def push(self, samples: Waveform) -> bytes:
        self.seconds += len(samples) / self._rate / self._speed
        self._writer.write(np.clip(samples, -1, 1).astype(np.float32))
        return b"" if self._whole else self._writer.taken()

    def finish(self) -> bytes:
        self._writer.close()
        return self._writer.taken()


def check_format(name: str, sample_rate: int, speed: float) -> None:
    """Raise ApiError where what it takes is not installed."""
    if not _needs_av(name, sample_rate, speed):
        return
    if importlib.util.find_spec("av") is None:
        what = f"the format {name}" if name not in ("wav", "pcm") else "another speed or sample rate"
        raise ApiError(400, f"{what} needs PyAV, {_REMEDY}; wav works without it", param="response_format")
    import av

    if FORMATS[name].codec not in av.codecs_available:
        message = f"this server's FFmpeg has no encoder for {name}: take wav or pcm, or {_REMEDY}"
        raise ApiError(400, message, param="response_format")


def _needs_av(name: str, sample_rate: int, speed: float) -> bool:
    return speed != 1 or not (name == "wav" or (name == "pcm" and sample_rate == PCM_RATE))


class _PlainWriter:
    """Samples of 16 bits, with or without the header of a WAV file."""

    def __init__(self, sample_rate: int, *, header: bool, seekable: bool) -> None:
        self._header, self._seekable, self._rate = header, seekable, sample_rate
        self._data = bytearray()
        if header and not seekable:
            self._data += wav_header(sample_rate, None)

    def write(self, samples: Waveform) -> None:
        self._data += pcm_bytes(samples)

    def close(self) -> None:
        if self._header and self._seekable:
            self._data[:0] = wav_header(self._rate, len(self._data))

    def taken(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def wav_header(sample_rate: int, size: int | None) -> bytes:
    """Of 16-bit mono; size: bytes of samples, None if they are not known yet."""
    riff, data = (_UNKNOWN, _UNKNOWN) if size is None else (size + 36, size)
    form = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data)


class _Pipe:
    """What FFmpeg writes to when the bytes leave at once: it cannot go back."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


class _File(_Pipe):
    """What FFmpeg writes to when it may go back, to put lengths where they belong."""

    def __init__(self) -> None:
        super().__init__()
        self.position = 0

    def write(self, data: bytes) -> int:
        self.data[self.position : self.position + len(data)] = data
        self.position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, len(self.data))[whence]
        return self.position

    def tell(self) -> int:
        return self.position


class _AvWriter:
    """FFmpeg's filters, encoder and container."""

    def __init__(self, form: Format, sample_rate: int, speed: float, *, seekable: bool) -> None:
        av: Any = importlib.import_module("av")  # its types know streams of one kind only by their names
        self._av, self._rate = av, sample_rate
        rate = sample_rate if not form.rates or sample_rate in form.rates else PCM_RATE
        self._sink = _File() if seekable else _Pipe()
        pages = {"page_duration": "100000"} if form.container == "ogg" else {}  # μs, else a second waits
        self._container = av.open(self._sink, "w", format=form.container, options=pages)
        self._container.flags |= av.container.Flags.bitexact.value  # no random serial numbers
        self._container.flags |= av.container.Flags.flush_packets.value  # else 32 KiB wait, of mp3 four seconds
        self._stream = self._container.add_stream(form.codec, rate=rate)
        self._stream.layout = "mono"
        if form.codec.startswith("lib") or form.codec == "aac":
            self._stream.bit_rate = form.bit_rate
        self._graph = _graph(av, sample_rate, rate, speed)
        self._position = 0  # samples
        self._rest = np.zeros(0, np.float32)

    def write(self, samples: Waveform, *, last: bool = False) -> None:
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) if last else len(samples) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            frame = self._av.AudioFrame.from_ndarray(samples[None, start : start + _BLOCK], "flt", "mono")
            frame.sample_rate, frame.pts = self._rate, self._position
            self._position += frame.samples
            self._graph.push(frame)
            self._encode()
        self._rest = samples[whole:]

    def close(self) -> None:
        if not self._position + len(self._rest):
            self._rest = np.zeros(1, np.float32)  # most formats cannot be empty
        self.write(np.zeros(0, np.float32), last=True)
        self._graph.push(None)
        self._encode()
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()

    def _encode(self) -> None:
        for frame in self._filtered():
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    def _filtered(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return

    def taken(self) -> bytes:
        data = bytes(self._sink.data)
        self._sink.data.clear()
        return data


def _graph(av: Any, source_rate: int, rate: int, speed: float) -> Any:
    """Samples at one rate → at another, and at another speed."""
    graph = av.filter.Graph()
    last = graph.add_abuffer(format="flt", sample_rate=source_rate, layout="mono", time_base=f"1/{source_rate}")
    chain: list[tuple[str, str | None]] = []
    while speed < 0.5:  # a filter's least
        chain, speed = [*chain, ("atempo", "0.5")], speed / 0.5
    if speed != 1:
        chain.append(("atempo", f"{speed:.9g}"))
    for name, options in [*chain, ("aresample", str(rate)), ("abuffersink", None)]:
        following = graph.add(name, options)
        last.link_to(following)
        last = following
    graph.configure()
    return graph
