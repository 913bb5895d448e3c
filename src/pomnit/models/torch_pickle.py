"""What the pickle of a PyTorch file says: a dictionary of tensors, each a place in a storage.

Python's own unpickler can be told to refuse most classes, but it still obeys each instruction of the file: to keep a
memo of 64 GB, to hash tuples nested a million deep (the process dies). So this is a machine of its own for the 34
instructions that ``torch.save`` writes (protocols 2 to 4; pickletools.py describes them). It makes strings, numbers,
tuples, lists and dictionaries, knows 13 classes and functions by name, and calls none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pomnit.errors import ModelDamaged

# The type of a storage's numbers, named as safetensors does, and the bytes of one.
STORAGES = {
    "torch.FloatStorage": ("F32", 4),
    "torch.HalfStorage": ("F16", 2),
    "torch.BFloat16Storage": ("BF16", 2),
    "torch.DoubleStorage": ("F64", 8),
    "torch.LongStorage": ("I64", 8),
    "torch.IntStorage": ("I32", 4),
    "torch.ShortStorage": ("I16", 2),
    "torch.CharStorage": ("I8", 1),
    "torch.ByteStorage": ("U8", 1),
    "torch.BoolStorage": ("BOOL", 1),
}
_DICTIONARY = "collections.OrderedDict"
_TENSOR, _PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
_KNOWN = {_DICTIONARY, _TENSOR, _PARAMETER, *STORAGES}

_PICKLE_LIMIT = 64_000_000  # bytes; the 390 tensors of BGE-M3 need 49 thousand
_STEPS_LIMIT = 4_000_000  # instructions, 40 for a tensor; each makes one small object at most, of 400 MB together
_TENSORS_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers of one type, in the member "data/KEY"."""

    kind: str
    width: int  # bytes of a number
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the pickle describes it, unchecked."""

    storage: Storage
    offset: Any
    size: Any
    stride: Any


@dataclass(frozen=True, slots=True)
class _Class:
    name: str


_MARK: Final = object()


def tensors(pickle: memoryview, path: Path) -> dict[str, Tensor]:
    """Gives the tensors of a pickle by name: of its dictionary, or of "state_dict" in it.

    Raises:
        ModelDamaged: it asks for something that is no part of a tensor (named), or is not what PyTorch writes.
    """
    if len(pickle) > _PICKLE_LIMIT:
        raise ModelDamaged(f"{path}: its pickle of {len(pickle)} bytes is larger than {_PICKLE_LIMIT}")
    try:
        found = _Machine(bytes(pickle)).run()
    except _Refused as error:
        raise ModelDamaged(f"{path}: {error}; only tensors are read, nothing of the file is run") from None
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):  # an empty stack, an empty memo, a cut
        raise ModelDamaged(f"{path}: its pickle is cut short or damaged") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict):
        raise ModelDamaged(f"{path}: it holds no dictionary of tensors")
    named = {name: tensor for name, tensor in found.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    if not named:
        raise ModelDamaged(f"{path}: its dictionary holds no tensors")
    if len(named) > _TENSORS_LIMIT:
        raise ModelDamaged(f"{path}: {len(named)} tensors, more than {_TENSORS_LIMIT}")
    return named


class _Refused(Exception):
    """What the file asks for and does not get."""


class _Machine:
    """A stack, a memo and the instructions."""

    def __init__(self, code: bytes) -> None:
        self._code, self._at = code, 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(_STEPS_LIMIT):
            step = self._take(1)
            if step == b".":
                return self._stack.pop()
            act = _STEPS.get(step)
            if act is None:
                raise _Refused(f"its pickle has an instruction {step!r} that PyTorch does not write")
            act(self)
        raise _Refused(f"its pickle has more than {_STEPS_LIMIT} instructions")

    def _take(self, count: int) -> bytes:
        taken = self._code[self._at : self._at + count]
        if len(taken) != count:
            raise IndexError
        self._at += count
        return taken

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        end = self._code.find(b"\n", self._at)
        if end < 0:
            raise IndexError
        line = self._code[self._at : end].decode("utf-8")
        self._at = end + 1
        return line

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self, *kinds: type) -> Any:
        value = self._stack.pop()
        if type(value) not in kinds:
            raise _Refused(f"its pickle has a {type(value).__name__} where {kinds[0].__name__} is expected")
        return value

    def _since_mark(self) -> list[Any]:
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is _MARK:
                values = self._stack[i + 1 :]
                del self._stack[i:]
                return values
        raise IndexError

    def text(self, layout: str) -> None:
        self.push(self._take(self._number(layout)).decode("utf-8", "surrogatepass"))

    def number(self, layout: str) -> None:
        self.push(self._number(layout))

    def long(self) -> None:
        self.push(int.from_bytes(self._take(self._number("<B")), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        values = [self._stack.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def tuple_since_mark(self) -> None:
        self.push(tuple(self._since_mark()))

    def put(self, layout: str) -> None:
        self._memo[self._number(layout)] = self._stack[-1]

    def put_next(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, layout: str) -> None:
        self.push(self._memo[self._number(layout)])

    def append(self) -> None:
        value = self._stack.pop()
        self._top(list).append(value)

    def extend(self) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._pop(str, int)
        self._top(dict)[key] = value

    def set_items(self) -> None:
        values = self._since_mark()
        keys = values[::2]
        if len(values) % 2 or any(type(key) not in (str, int) for key in keys):
            raise _Refused("its pickle has a dictionary whose keys are not names")
        self._top(dict).update(zip(keys, values[1::2], strict=True))

    def _top(self, kind: type) -> Any:
        value = self._pop(kind)
        self.push(value)
        return value

    def build(self) -> None:
        """Leaves out the state of a dictionary: PyTorch keeps the versions of its modules there."""
        self._stack.pop()
        self._top(dict)

    def skip(self, count: int) -> None:
        self._take(count)

    def name_from_lines(self) -> None:
        self._push_class(f"{self._line()}.{self._line()}")

    def name_from_stack(self) -> None:
        name, module = self._pop(str), self._pop(str)
        self._push_class(f"{module}.{name}")

    def _push_class(self, name: str) -> None:
        if name not in _KNOWN:
            raise _Refused(f"its pickle asks for {name[:200]!r}, which is no part of a tensor")
        self.push(_Class(name))

    def storage(self) -> None:
        match self._pop(tuple):
            case ("storage", _Class(name), str(key), str(), int(count)) if name in STORAGES:
                self.push(Storage(*STORAGES[name], key, count))
            case _:
                raise _Refused("its pickle names a storage in a way that PyTorch does not")

    def call(self) -> None:
        given, what = self._pop(tuple), self._pop(_Class)
        match what.name, given:
            case (name, ()) if name == _DICTIONARY:
                self.push({})
            case (name, (Storage() as storage, offset, size, stride, *_)) if name == _TENSOR:
                self.push(Tensor(storage, offset, size, stride))
            case (name, (Tensor() as tensor, *_)) if name == _PARAMETER:
                self.push(tensor)
            case _:
                raise _Refused(f"its pickle makes a {what.name} in a way that PyTorch does not")


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: m.skip(1),  # the protocol
    b"\x95": lambda m: m.skip(8),  # the length of a frame
    b"(": lambda m: m.push(_MARK),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"K": lambda m: m.number("<B"),
    b"M": lambda m: m.number("<H"),
    b"J": lambda m: m.number("<i"),
    b"G": lambda m: m.number(">d"),
    b"\x8a": _Machine.long,
    b"X": lambda m: m.text("<I"),
    b"\x8c": lambda m: m.text("<B"),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"t": _Machine.tuple_since_mark,
    b"q": lambda m: m.put("<B"),
    b"r": lambda m: m.put("<I"),
    b"\x94": _Machine.put_next,
    b"h": lambda m: m.get("<B"),
    b"j": lambda m: m.get("<I"),
    b"a": _Machine.append,
    b"e": _Machine.extend,
    b"s": _Machine.set_item,
    b"u": _Machine.set_items,
    b"b": _Machine.build,
    b"c": _Machine.name_from_lines,
    b"\x93": _Machine.name_from_stack,
    b"Q": _Machine.storage,
    b"R": _Machine.call,
}
