# SPDX-License-Identifier: Apache-2.0
"""Recordings: the events of a live run, kept so that they can be replayed.

A recording is a msgpack stream: a header map
``{"format": "arpwhy-recording", "version": 1, "arpwhy": "<version>"}`` and then one
array per event, ``[kind, field, field, ...]``: the name of a class of
:mod:`tracer.events` and its fields in order (enumerations by value, dataclasses inside
an event as arrays, what was seen of a request as a map of what is known of it). Both
directions are derived from the dataclasses. The format stays readable by older and newer
versions as long as new fields are appended, with a default; a class that is renamed, or a
field that is moved, needs a new ``FORMAT_VERSION``.

A ``CauseFound`` without ``read`` is of a version that kept one map of all that was seen and
read, in the place of ``seen``: it is split when it is read.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import NoneType, TracebackType, UnionType
from typing import Any, BinaryIO, Union, get_args, get_origin, get_type_hints

import msgpack  # type: ignore[import-untyped]

from tracer import __version__
from tracer.events import CauseFound, Event
from tracer.seen import NOTHING_SEEN, SEEN_NAMES, Facts, Seen

FORMAT = "arpwhy-recording"
FORMAT_VERSION = 1

# What every header starts with after its first byte (the number of its entries).
_MAGIC = b"\xa6format\xb0" + FORMAT.encode()

# Surrogates stand for bytes of a name that were not UTF-8: they must survive.
_UNICODE_ERRORS = "surrogatepass"

_FLUSH_BYTES = 1 << 16
_READ_BYTES = 1 << 16
# No event comes near these; a damaged or hostile length does.
_MAX_EVENT_BYTES = 1 << 24
_MAX_ARRAY = 1 << 16
_MAX_MAP = 1 << 12
_MAX_PRINTED = 40


class RecordingError(Exception):
    """A recording cannot be read or written; its text is one line for the user."""


class Truncated(RecordingError):  # noqa: N818 - it says what the file is
    """The recording ends inside an event: its writer was killed, or the disk was full.

    Raised after every complete event has been given. ``position`` is the byte offset of
    the incomplete one.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Writer:
    """Writes events to a binary file, which it owns from then on.

    The header is written at once. Events are buffered: flush() hands them to the file,
    and so does write() once 64 KiB have gathered. Whatever was flushed can be read again
    even if the process is killed. Every method raises RecordingError when the file
    cannot be written; after that nothing more is written to it, so what is there stays
    readable.
    """

    def __init__(self, file: BinaryIO, name: str = "recording") -> None:
        self._file = file
        self._name = _printable(name)
        self._buffer = bytearray()
        self._failure: RecordingError | None = None
        packer = msgpack.Packer(unicode_errors=_UNICODE_ERRORS, default=_plain)
        self._pack: Callable[[object], bytes] = packer.pack
        header = {"format": FORMAT, "version": FORMAT_VERSION, "arpwhy": __version__}
        self._buffer += self._pack(header)
        self.flush()

    @classmethod
    def create(cls, path: str | Path) -> Writer:
        """Creates or replaces the file at ``path``; RecordingError if that is refused."""
        try:
            # Unbuffered: a second buffer would be written again after a failure.
            file = Path(path).open("wb", buffering=0)  # noqa: SIM115 - close() closes it
        except OSError as error:
            raise RecordingError(f"cannot write {_printable(path)}: {_why(error)}") from error
        try:
            return cls(file, str(path))
        except RecordingError:  # the header could not be written
            file.close()
            raise

    def write(self, event: Event) -> None:
        if self._failure is not None:
            raise self._failure
        self._buffer += self._pack(_VALUES[type(event)](event))
        if len(self._buffer) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands everything written so far to the operating system."""
        if self._failure is not None:
            raise self._failure
        try:
            while self._buffer:
                written = self._file.write(self._buffer)
                if written is None:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                del self._buffer[:written]
            self._file.flush()
        except OSError as error:
            self._buffer.clear()
            self._failure = RecordingError(f"cannot write {self._name}: {_why(error)}")
            raise self._failure from error

    def close(self) -> None:
        """Flushes and closes; a failure that was raised before is not raised again."""
        if self._file.closed:
            return
        try:
            if self._failure is None:
                self.flush()
        finally:
            try:
                self._file.close()
            except OSError as error:
                if self._failure is None:
                    message = f"cannot write {self._name}: {_why(error)}"
                    self._failure = RecordingError(message)
                    raise self._failure from error

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read(path: str | Path) -> Iterator[Event]:
    """Gives the events of the recording at ``path``, one at a time, in order.

    Memory does not grow with the file. Raises RecordingError, at the first next() for a
    file that cannot be opened or is no recording, later for one that is damaged (with
    the offset of the damaged event), and Truncated after the last complete event of a
    recording that was cut off. A recording whose writer was killed between two flushes
    ends without either, and without a Stopped event.
    """
    name = _printable(path)
    try:
        with Path(path).open("rb", buffering=0) as file:
            yield from _read(_Counted(file), name)
    except OSError as error:
        raise RecordingError(f"cannot read {name}: {_why(error)}") from error


class _Counted:
    """A file for msgpack that knows how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0
        self.start = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(size) or b""
        if self.count < 64:
            self.start += data[:64]
        self.count += len(data)
        return data


class _InvalidError(Exception):
    """Well-formed msgpack that is not what an event has at that place."""


# OverflowError, TypeError and RecursionError: msgpack's pure Python fallback.
_DAMAGE = (
    msgpack.UnpackException,
    ValueError,
    OverflowError,
    TypeError,
    RecursionError,
    _InvalidError,
)


def _read(file: _Counted, name: str) -> Iterator[Event]:
    unpacker = msgpack.Unpacker(
        file,
        read_size=_READ_BYTES,
        unicode_errors=_UNICODE_ERRORS,
        max_buffer_size=_MAX_EVENT_BYTES,
        max_array_len=_MAX_ARRAY,
        max_map_len=_MAX_MAP,
    )
    _check_header(unpacker, file, name)
    decoders = _decoders()
    position: int = unpacker.tell()
    while True:
        try:
            values = next(unpacker)
            if type(values) is not list or not values or type(values[0]) is not str:
                raise _InvalidError("not an event")
            decode = decoders.get(values[0])
            if decode is None:
                raise _InvalidError(f"unknown kind of event {_short(values[0])}")
            event = decode(values)
        except StopIteration:
            break
        except _DAMAGE as error:
            # msgpack's own messages are often empty or about its internals.
            detail = str(error) if isinstance(error, _InvalidError) else "not valid msgpack"
            raise RecordingError(f"{name} is damaged at byte {position}: {detail}") from error
        yield event
        position = unpacker.tell()
    if file.count - position >= _MAX_EVENT_BYTES:
        # msgpack 1.0.3 takes its own limit for the end of the file, later ones raise.
        raise RecordingError(f"{name} is damaged at byte {position}: not valid msgpack")
    if position != file.count:
        raise Truncated(
            f"{name} is cut off: it ends inside the event at byte {position}"
            f" ({file.count - position} bytes of it are there)",
            position,
        )


def _check_header(unpacker: Any, file: _Counted, name: str) -> None:
    try:
        header = next(unpacker)
    except StopIteration:
        cut = file.start[1 : 1 + len(_MAGIC)]
        if cut and _MAGIC.startswith(cut):
            raise Truncated(f"{name} is cut off: it ends inside its header", 0) from None
        what = "is empty" if not file.count else "is not a recording of arpwhy"
        raise RecordingError(f"{name} {what}") from None
    except _DAMAGE as error:
        raise RecordingError(f"{name} is not a recording of arpwhy") from error
    if type(header) is not dict or header.get("format") != FORMAT:
        raise RecordingError(f"{name} is not a recording of arpwhy")
    version = header.get("version")
    if type(version) is not int or version < 1:
        raise RecordingError(f"{name} is damaged: its header names no version")
    if version > FORMAT_VERSION:
        raise RecordingError(
            f"{name} has format version {version}, made by arpwhy"
            f" {_short(header.get('arpwhy'))}: this arpwhy {__version__} reads up to"
            f" {FORMAT_VERSION}"
        )


# An event's array: the name of its class and its fields.
_VALUES: Mapping[type, Callable[[Any], object]] = {
    cls: attrgetter("__class__.__name__", *(field.name for field in dataclasses.fields(cls)))
    for cls in get_args(Event)
}


def _plain(value: object) -> object:
    """What msgpack does not know by itself: a dataclass within an event, a mapping proxy."""
    if isinstance(value, Seen):
        return value.facts()
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"cannot record a {type(value).__name__}")


_Convert = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """What msgpack must give for a field, and how that becomes the field's value."""

    kinds: frozenset[type]
    convert: _Convert | None = None


def _shape(annotation: Any) -> _Shape:
    """The shape of a field by its annotation; TypeError for one that is not known here."""
    origin = get_origin(annotation)
    if annotation in (int, str, bool, float, NoneType):
        return _Shape(frozenset({annotation}))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _Shape(frozenset({str}), _enum_converter(annotation))
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        seen = annotation is Seen
        convert = _seen_converter() if seen else _decoder(annotation, skip=0)
        return _Shape(frozenset({dict if seen else list}), convert)
    if origin in (Union, UnionType):
        shapes = [_shape(argument) for argument in get_args(annotation)]
        if any(shape.convert for shape in shapes):
            raise TypeError(f"cannot record a choice of {annotation}")
        return _Shape(frozenset().union(*(shape.kinds for shape in shapes)))
    if origin is tuple and get_args(annotation)[1:] == (...,):
        return _Shape(frozenset({list}), _tuple_converter(_shape(get_args(annotation)[0])))
    if origin is Mapping:
        key, value = map(_shape, get_args(annotation))
        return _Shape(frozenset({dict}), _mapping_converter(key, value))
    raise TypeError(f"cannot record a {annotation}")


def _enum_converter(cls: type[Enum]) -> _Convert:
    members = {member.value: member for member in cls}

    def convert(value: str) -> Enum:
        member = members.get(value)
        if member is None:
            raise _InvalidError(f"unknown {cls.__name__.lower()} {_short(value)}")
        return member

    return convert


def _tuple_converter(item: _Shape) -> _Convert:
    def convert(values: list[Any]) -> tuple[Any, ...]:
        if not item.kinds.issuperset(map(type, values)):
            raise _InvalidError("a list with an entry of the wrong type")
        return tuple(map(item.convert, values)) if item.convert else tuple(values)

    return convert


def _mapping_converter(key: _Shape, value: _Shape) -> _Convert:
    if key.convert or value.convert:
        raise TypeError("cannot record a mapping of other than plain values")

    def convert(values: dict[Any, Any]) -> dict[Any, Any]:
        if not key.kinds.issuperset(map(type, values)):
            raise _InvalidError("a mapping with a key of the wrong type")
        if not value.kinds.issuperset(map(type, values.values())):
            raise _InvalidError("a mapping with a value of the wrong type")
        return values

    return convert


def _seen_converter() -> _Convert:
    """Names that it has not are passed over: another version's, or what was read (_split)."""
    kinds = {name: _shape(hint).kinds for name, hint in get_type_hints(Seen).items()}

    def convert(values: dict[Any, Any]) -> Seen:
        if not values:
            return NOTHING_SEEN
        for name in kinds.keys() & values.keys():
            if type(values[name]) not in kinds[name]:
                raise _InvalidError(f"Seen.{name} is a {type(values[name]).__name__}")
        return Seen.of(values)

    return convert


def _decoder(cls: type[Any], skip: int) -> _Convert:
    """A function that makes a ``cls`` from its array; ``skip`` leading items are not fields."""
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)
    shapes = [_shape(hints[field.name]) for field in fields]
    checks = [(field.name, shape.kinds) for field, shape in zip(fields, shapes, strict=True)]
    conversions = [(i, shape.convert) for i, shape in enumerate(shapes) if shape.convert]
    required = sum(
        field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        for field in fields
    )
    wanted = slice(skip, skip + len(fields))

    def decode(array: list[Any]) -> Any:
        values = array[wanted]
        if len(values) < required:
            raise _InvalidError(f"{cls.__name__} has {len(values)} of {required} fields")
        # A newer minor version appends fields: strict would refuse both directions.
        for (name, kinds), value in zip(checks, values, strict=False):
            if type(value) not in kinds:
                raise _InvalidError(f"{cls.__name__}.{name} is a {type(value).__name__}")
        for i, convert in conversions:
            if i < len(values):
                values[i] = convert(values[i])
        return cls(*values)

    return decode


_EVIDENCE_AT, _READ_AT = (
    1 + [field.name for field in dataclasses.fields(CauseFound)].index(name)
    for name in ("seen", "read")
)


def _cause_found() -> _Convert:
    """The decoder of a CauseFound, also of one that has all that was found in one map."""
    decode = _decoder(CauseFound, skip=1)
    facts = _shape(Facts).convert
    assert facts is not None

    def convert(array: list[Any]) -> CauseFound:
        found: CauseFound = decode(array)
        if not _EVIDENCE_AT < len(array) <= _READ_AT:
            return found
        return dataclasses.replace(found, **_split(facts(array[_EVIDENCE_AT])))

    return convert


def _split(flat: Facts) -> dict[str, Any]:
    """But for what was seen, which Seen takes out of the map by itself. What the look read came
    first; of names that both have, only what was seen was kept, so that the look's is None.
    """
    found = dict(flat)
    because, also = found.pop("because", None), found.pop("also", None)
    names = list(found)
    while names and names[-1] in SEEN_NAMES:
        names.pop()
    return {
        "read": {name: None if name in SEEN_NAMES else found[name] for name in names},
        "because": None if because is None else str(because),
        "also": tuple(str(also or "").split()),
    }


@cache
def _decoders() -> Mapping[str, _Convert]:
    decoders = {cls.__name__: _decoder(cls, skip=1) for cls in get_args(Event)}
    return {**decoders, CauseFound.__name__: _cause_found()}


def _printable(path: object) -> str:
    """A path for an error line: a newline or an escape sequence in it stays harmless."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def _short(value: object) -> str:
    """Something read from a file, for an error line: ASCII, and no longer than 40."""
    return ascii(value)[:_MAX_PRINTED]


def _why(error: OSError) -> str:
    return error.strerror or str(error)
