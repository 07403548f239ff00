"""Reads the pickles in which bluesky publishes documents, without letting the sender run code here.

A pickle is a program for a small machine. Python's own machine calls and changes whatever the program names; this one
knows what `pickle.dumps` writes (protocols 2 to 5), and makes plain values by itself: see `pickled`.
"""

from __future__ import annotations

import pickle
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .bounds import require_bounded
from .pickled import Named, Pending, require_key

# those that are no text have hashes that a sender can make collide
_MOST_ODD_KEYS = 20_000


def unpickle(data: bytes) -> Any:
    """The value. Raises pickle.UnpicklingError for a type that is not made here, anything for what is no pickle."""
    value = _Machine(data).run()
    require_bounded([value], len(data))
    return value


class _Machine:
    """The program, the stack, and the values that the program may come back to."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        # the stacks below the open marks
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        # whether any value may wait for the rest of it
        self._pending = False
        self._odd_keys = 0

    def run(self) -> Any:
        data = self._data
        while (code := data[self._at]) != _STOP:
            self._at += 1
            step = _STEPS.get(code)
            if step is None:
                raise pickle.UnpicklingError(f"it has the opcode {code}, which pickle.dumps writes for no document")
            step(self)
        (value,) = self._values(self._stack)
        return _data(value)

    # reading

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise pickle.UnpicklingError("it is cut off")
        found = self._data[self._at : end]
        self._at = end
        return found

    def number(self, length: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(length), "little", signed=signed)

    def line(self) -> str:
        end = self._data.index(b"\n", self._at)
        found = self._data[self._at : end]
        self._at = end + 1
        return found.decode()

    def double(self) -> None:
        # these are most of an event: no further call
        self._stack.append(_DOUBLE(self._data, self._at)[0])
        self._at += 8

    def short_text(self) -> None:
        begin = self._at + 1
        self._at = end = begin + self._data[self._at]
        if end > len(self._data):
            raise pickle.UnpicklingError("it is cut off")
        self._stack.append(self._data[begin:end].decode("utf-8", "surrogatepass"))

    # the stack

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def marked(self) -> list[Any]:
        """What was pushed since the mark."""
        found, self._stack = self._stack, self._below.pop()
        return self._values(found)

    def last(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise pickle.UnpicklingError("it takes more values than it has made")
        found = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return self._values(found)

    def pop(self) -> None:
        # as pickle does for what is found in itself: the mark, when nothing is above it
        if self._stack:
            self._stack.pop()
        else:
            self.marked()

    def _values(self, values: list[Any]) -> list[Any]:
        if not self._pending:
            return values
        return [value.value() if isinstance(value, Pending) else value for value in values]

    # the memo

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def memoize_at(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def recall(self) -> None:
        self._stack.append(self._memo[self._data[self._at]])
        self._at += 1

    def recall_from(self, place: int) -> None:
        self._stack.append(self._memo[place])

    # containers

    def extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list | deque):
            raise pickle.UnpicklingError("it appends to what is no list")
        target.extend(map(_data, items))

    def update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise pickle.UnpicklingError("it sets items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if type(key) is str else self._key(key)] = value if type(value) is float else _data(value)

    def add(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, set):
            raise pickle.UnpicklingError("it adds to what is no set")
        target.update(map(self._key, items))

    def freeze(self) -> None:
        self.push(frozenset(map(self._key, self.marked())))

    def _key(self, value: Any) -> Any:
        if type(value) is not str:
            self._odd_keys += 1
            if self._odd_keys > _MOST_ODD_KEYS:
                raise pickle.UnpicklingError("it has too many keys that are no text")
        return require_key(_data(value))

    # what classes and functions make

    def name(self, module: Any, name: Any) -> None:
        self.push(Named(str(module), str(name)))

    def call(self, *, new: bool) -> None:
        function, arguments = self.last(2)
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("it calls what is no function")
        made = function.new(arguments) if new else function.call(arguments)
        self._pending = self._pending or isinstance(made, Pending)
        self.push(made)

    def build(self) -> None:
        (state,) = self.last(1)
        target = self._stack[-1]
        if not isinstance(target, Pending):
            raise pickle.UnpicklingError("it changes what is made")
        target.build(state)


def _data(value: Any) -> Any:
    """The value, if it is one; a class or function is none."""
    if isinstance(value, Named):
        value.refuse()
    return value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


_Step = Callable[[_Machine], Any]
_STOP = pickle.STOP[0]
_DOUBLE = struct.Struct(">d").unpack_from


def _counted(length: int, make: Callable[[bytes], Any]) -> _Step:
    return lambda machine: machine.push(make(machine.take(machine.number(length))))


def _constant(make: Callable[[], Any]) -> _Step:
    return lambda machine: machine.push(make())


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


_STEPS_BY_OPCODE: Mapping[bytes, _Step] = {
    pickle.PROTO: lambda machine: machine.take(1),
    pickle.FRAME: lambda machine: machine.take(8),
    pickle.NONE: _constant(lambda: None),
    pickle.NEWTRUE: _constant(lambda: True),
    pickle.NEWFALSE: _constant(lambda: False),
    pickle.EMPTY_LIST: _constant(list),
    pickle.EMPTY_DICT: _constant(dict),
    pickle.EMPTY_SET: _constant(set),
    pickle.EMPTY_TUPLE: _constant(tuple),
    pickle.BININT: lambda machine: machine.push(machine.number(4, signed=True)),
    pickle.BININT1: lambda machine: machine.push(machine.number(1)),
    pickle.BININT2: lambda machine: machine.push(machine.number(2)),
    pickle.LONG1: _counted(1, _long),
    pickle.LONG4: _counted(4, _long),
    pickle.BINFLOAT: _Machine.double,
    pickle.SHORT_BINBYTES: _counted(1, bytes),
    pickle.BINBYTES: _counted(4, bytes),
    pickle.BINBYTES8: _counted(8, bytes),
    pickle.BYTEARRAY8: _counted(8, bytearray),
    pickle.SHORT_BINUNICODE: _Machine.short_text,
    pickle.BINUNICODE: _counted(4, _text),
    pickle.BINUNICODE8: _counted(8, _text),
    pickle.MARK: _Machine.mark,
    pickle.POP: _Machine.pop,
    pickle.POP_MARK: _Machine.marked,
    pickle.MEMOIZE: _Machine.memoize,
    pickle.BINPUT: lambda machine: machine.memoize_at(machine.number(1)),
    pickle.LONG_BINPUT: lambda machine: machine.memoize_at(machine.number(4)),
    pickle.BINGET: _Machine.recall,
    pickle.LONG_BINGET: lambda machine: machine.recall_from(machine.number(4)),
    pickle.TUPLE: lambda machine: machine.push(tuple(machine.marked())),
    pickle.TUPLE1: lambda machine: machine.push(tuple(machine.last(1))),
    pickle.TUPLE2: lambda machine: machine.push(tuple(machine.last(2))),
    pickle.TUPLE3: lambda machine: machine.push(tuple(machine.last(3))),
    pickle.APPEND: lambda machine: machine.extend(machine.last(1)),
    pickle.APPENDS: lambda machine: machine.extend(machine.marked()),
    pickle.SETITEM: lambda machine: machine.update(machine.last(2)),
    pickle.SETITEMS: lambda machine: machine.update(machine.marked()),
    pickle.ADDITEMS: lambda machine: machine.add(machine.marked()),
    pickle.FROZENSET: _Machine.freeze,
    pickle.GLOBAL: lambda machine: machine.name(machine.line(), machine.line()),
    pickle.STACK_GLOBAL: lambda machine: machine.name(*machine.last(2)),
    pickle.REDUCE: lambda machine: machine.call(new=False),
    pickle.NEWOBJ: lambda machine: machine.call(new=True),
    pickle.BUILD: _Machine.build,
}
_STEPS: Mapping[int, _Step] = {opcode[0]: step for opcode, step in _STEPS_BY_OPCODE.items()}
