"""Reads pickles (protocol 2 and later) without running them: plain values, and inert `Record`s for all else.

No class or function that a pickle names is imported or called. The only calls are of functions that the reader of a
format brings along. Memory and time grow with the pickle: steps are counted, keys of dicts are values whose hash costs
nothing, and no step makes more than it reads.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from io import BytesIO
from types import FunctionType
from typing import Any

from tnllt.stored_zip import Refused

#: Steps of one pickle. A checkpoint of 40,000 tensors has about two million.
MOST_STEPS = 2_000_000
#: Lists, tuples and dicts that are open at the same time.
_MOST_NESTED = 1000
#: Dict keys that are tuples: equal hashes can be made up for these, and every one of them would cost more.
_MOST_TUPLE_KEYS = 4096

_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Record("builtins.set"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_SCALARS = (str, int, float, bool, bytes, type(None))


class Record:
    """Stands for a class, function or object that a pickle names; it has no behaviour, and its hash is its identity.

    Attributes:
        name: "module.name" of the class or function.
        args: what it was called with, or None for the class itself.
        state: what the object's `__setstate__` would have got, or None.
    """

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: Any = None) -> None:
        self.name, self.args, self.state = name, args, None

    def __repr__(self) -> str:
        return f"Record({self.name!r})"


class Unpickler:
    """One pickle machine.

    Args:
        known: what names stand for, by "module.name": plain values, or Python functions of ours, which are called with
            whatever arguments the pickle has and must check them.
        persistent: makes an object of a persistent id; None where the format has none.
    """

    def __init__(self, known: Mapping[str, Any] | None = None, persistent: Callable[[Any], Any] | None = None) -> None:
        self._known, self._persistent = {**_BASIC, **(known or {})}, persistent
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps, self._work, self._tuple_keys = MOST_STEPS, MOST_STEPS, _MOST_TUPLE_KEYS

    def load(self, stream: BytesIO) -> Any:
        """The value of the pickle that starts at the stream's position; the position is then behind it.

        Raises:
            Refused: see there.
        """
        self._work += stream.getbuffer().nbytes
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                self._steps -= 1
                if self._steps < 0:
                    raise Refused(f"a pickle of more than {MOST_STEPS:,} steps; no checkpoint has so many")
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, argument)
        except Refused:
            raise
        except Exception as error:  # a damaged pickle, or arguments that a function of ours does not take
            raise Refused(" ".join(str(error).split())[:200] or type(error).__name__) from error
        raise Refused("the pickle breaks off")

    def _step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._stack.append(_checked(argument))
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        else:
            handler = getattr(self, f"_op_{name.lower()}", None)
            if handler is None:
                raise Refused(f"a pickle with the step {name}, which is not read")
            handler(argument)

    # --- the stack ---------------------------------------------------------------------------------------------------

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Refused("a damaged pickle: it takes a value that is not there")
        return self._stack.pop()

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise Refused("a damaged pickle: it closes what was not opened")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _top(self) -> Any:
        value = self._pop()
        self._stack.append(value)
        return value

    def _op_proto(self, version: int) -> None: ...

    def _op_frame(self, size: int) -> None: ...

    def _op_mark(self, _: None) -> None:
        if len(self._marks) >= _MOST_NESTED:
            raise Refused(f"a pickle nested deeper than {_MOST_NESTED}")
        self._marks.append(len(self._stack))

    def _op_pop(self, _: None) -> None:
        self._pop()

    def _op_pop_mark(self, _: None) -> None:
        self._pop_mark()

    def _op_memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._top()

    def _op_binput(self, index: int) -> None:
        self._memo[index] = self._top()

    def _op_binget(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _op_long_binput, _op_long_binget = _op_binput, _op_binget

    # --- containers --------------------------------------------------------------------------------------------------

    def _op_tuple(self, _: None) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _op_frozenset(self, _: None) -> None:
        self._stack.append(Record("builtins.frozenset", tuple(self._pop_mark())))

    def _op_bytearray8(self, data: bytearray) -> None:
        self._stack.append(bytes(data))

    def _op_append(self, _: None) -> None:
        item = self._pop()
        self._extend(self._top(), [item])

    def _op_appends(self, _: None) -> None:
        items = self._pop_mark()
        self._extend(self._top(), items)

    def _op_additems(self, _: None) -> None:
        items = self._pop_mark()
        if not isinstance(self._top(), Record):
            raise Refused("a damaged pickle: it adds members to what is not a set")
        del items

    def _op_setitem(self, _: None) -> None:
        value = self._pop()
        key = self._pop()
        self._set(self._top(), [key, value])

    def _op_setitems(self, _: None) -> None:
        items = self._pop_mark()
        self._set(self._top(), items)

    def _extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Record):
            raise Refused("a damaged pickle: it appends to what is not a list")

    def _set(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise Refused("a damaged pickle: a key without a value")
        if isinstance(target, Record):
            return
        if not isinstance(target, dict):
            raise Refused("a damaged pickle: it sets items of what is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._key(key)] = value

    def _key(self, key: Any) -> Any:
        """The key, where its hash is cheap and cannot be made to collide often."""
        parts = key if isinstance(key, tuple) else (key,)
        if isinstance(key, tuple):
            self._tuple_keys -= 1
        if self._tuple_keys < 0 or len(parts) > 16 or not all(isinstance(p, (*_SCALARS, Record)) for p in parts):
            raise Refused("a pickle with a dict whose keys are not plain values")
        if any(isinstance(part, int) and part.bit_length() > 64 for part in parts):
            raise Refused("a pickle with a dict whose keys are integers beyond 64 bits")
        return key

    # --- names, calls and objects ------------------------------------------------------------------------------------

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("a damaged pickle: the name of a class is not text")
        full = f"{module}.{name}"
        self._stack.append(self._known[full] if full in self._known else Record(full))

    def _op_global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _op_stack_global(self, _: None) -> None:
        name = self._pop()
        self._name(self._pop(), name)

    def _op_reduce(self, _: None) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    _op_newobj = _op_reduce

    def _op_newobj_ex(self, _: None) -> None:
        options, arguments = self._pop(), self._pop()
        kind = self._pop()
        self._stack.append(Record(_named(kind), (arguments, options)))

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, FunctionType):
            self._stack.append(Record(_named(function), arguments))
            return
        if not isinstance(arguments, tuple):
            raise Refused("a damaged pickle: arguments of a call are not a tuple")
        self._work -= sum(len(a) for a in arguments if isinstance(a, str | bytes | list | tuple | dict))
        if self._work < 0:
            raise Refused("a pickle that makes more than it holds")
        made = function(*arguments)
        self._stack.append({} if isinstance(made, _Pairs) else made)
        if isinstance(made, _Pairs):
            self._set(self._stack[-1], made.items)

    def _op_build(self, _: None) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, Record):
            target.state = state

    def _op_binpersid(self, _: None) -> None:
        if self._persistent is None:
            raise Refused("a pickle that refers to data outside of it")
        self._stack.append(self._persistent(self._pop()))


class _Pairs:
    def __init__(self, items: list[Any]) -> None:
        self.items = items


def _ordered_dict(pairs: Any = ()) -> _Pairs:
    """`collections.OrderedDict`: called with nothing, or (Python 2) with a list of pairs."""
    return _Pairs([part for key, value in pairs for part in (key, value)])


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode`: how bytes are spelled below protocol 3."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"a pickle with bytes in the encoding {encoding[:20]!r}")
    return text.encode("latin-1")


def _bytes(*nothing: Any) -> bytes:
    """`bytes()`: how empty bytes are spelled below protocol 3."""
    if nothing:
        raise Refused("a pickle that calls bytes")
    return b""


_BASIC: dict[str, Any] = {
    "collections.OrderedDict": _ordered_dict,
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "__builtin__.bytes": _bytes,
}


def _named(kind: Any) -> str:
    return kind.name if isinstance(kind, Record) else type(kind).__name__


def _checked(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > 128:
        raise Refused("a pickle with an integer beyond 128 bits")
    return value
