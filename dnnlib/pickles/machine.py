"""Stack machine of `inert_pickle`, where it is described; callers use that module."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

from dnnlib.pickles.parts import ByteSource, Handler, Handlers, Limits, Opaque, Pending, Ref, as_key

OPS_BETWEEN_CHECKS = 256


class Machine:
    """State of one reading. `step` runs an opcode; after STOP, `finish` returns the object."""

    def __init__(
        self,
        source: ByteSource,
        handlers: Handlers,
        limits: Limits,
        inert: bool,
        persistent: Handler | None,
    ) -> None:
        """Prepares a reading.

        Args:
            source: Reader of the pickle's bytes.
            handlers: Handlers of globals, as in `read_pickle`.
            limits: Limits of the cost.
            inert: Whether objects of unknown classes become `Opaque`.
            persistent: Function of a persistent id, or None.
        """
        self.source, self.handlers, self.limits = source, handlers, limits
        self.inert, self.persistent, self.code = inert, persistent, -1  # code: the current opcode
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.opcodes = self.objects = self.pushes = self.text_bytes = self.made_bytes = self.frame_end = 0
        self.deadline = time.monotonic() + limits.seconds

    def step(self) -> bool:
        """Runs one opcode and returns whether it was STOP."""
        start = self.source.pos
        self.code = -1
        self.code = code = self.source.take(1)[0]
        self.opcodes += 1
        if self.opcodes == 1 and code != 0x80:
            raise ValueError('not a pickle of protocol 2 to 5')
        if self.opcodes % OPS_BETWEEN_CHECKS == 0:
            self.check_cost()
        action = ACTIONS.get(code)
        if action is None:
            raise ValueError('an opcode that honest model files do not have')
        action(self)
        if start < self.frame_end < self.source.pos and code != 0x95:
            raise ValueError('the frame ends within this opcode')
        return code == STOP

    def check_cost(self) -> None:
        """Raises ValueError if a limit of the whole reading is exceeded."""
        if self.opcodes > self.limits.opcodes:
            raise ValueError(f'more than {self.limits.opcodes} opcodes')
        if self.pushes > self.limits.pushes:
            raise ValueError(f'more than {self.limits.pushes} values')
        if self.objects > self.limits.objects:
            raise ValueError(f'more than {self.limits.objects} objects')
        if time.monotonic() > self.deadline:
            raise ValueError(f'reading takes longer than {self.limits.seconds:g} s')

    def finish(self) -> Any:
        """Returns the one object on the stack."""
        value = self.pop()
        if self.stack or self.marks or self.frame_end > self.source.pos:
            raise ValueError('objects on the stack, or bytes of the frame, are left over')
        self.check_cost()
        return self.finished(value)

    # ---- the stack

    def push(self, value: Any, objects: int = 1) -> None:
        """Puts a value on the stack; it counts as so many objects, and as one place in what holds it."""
        self.objects += objects
        self.pushes += 1
        self.stack.append(value)

    def pop(self) -> Any:
        """Takes the top of the stack, but nothing below the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError('the stack is empty')
        return self.stack.pop()

    def top(self) -> Any:
        """Returns the top of the stack, which stays."""
        self.stack.append(value := self.pop())
        return value

    def pop_mark(self) -> list[Any]:
        """Takes everything above the last mark, and the mark."""
        if not self.marks:
            raise ValueError('no mark on the stack')
        height = self.marks.pop()
        items = [self.finished(item) for item in self.stack[height:]]
        del self.stack[height:]
        return items

    def finished(self, value: Any) -> Any:
        """Returns a value that becomes part of another; ValueError while its state is missing."""
        if isinstance(value, Pending):
            raise ValueError(f'a {type(value).__name__} without its contents')
        return value

    def remember(self, index: int) -> None:
        """Stores the top of the stack as memo entry `index`."""
        self.objects += 1
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        """Pushes memo entry `index`."""
        if index not in self.memo:
            raise ValueError(f'memo entry {index} does not exist')
        value = self.memo[index]
        self.push(value if not isinstance(value, Pending) or value.result is None else value.result, 0)

    # ---- values

    def text(self, length_bytes: int) -> None:
        """Pushes a str that follows its length."""
        n = self.source.uint(length_bytes)
        self.text_bytes += n
        if self.text_bytes > self.limits.text_bytes:
            raise ValueError(f'more than {self.limits.text_bytes} bytes of text')
        self.push(self.source.take(n).decode('utf-8', 'surrogatepass'))

    def integer(self, n: int) -> None:
        """Pushes a little-endian signed number of n bytes."""
        if n > self.limits.int_bytes:
            raise ValueError(f'an integer of {n} bytes, more than {self.limits.int_bytes}')
        self.push(int.from_bytes(self.source.take(n), 'little', signed=True))

    def make_tuple(self, n: int) -> None:
        """Replaces the top n values by a tuple of them."""
        items = [self.finished(self.pop()) for _ in range(n)]
        self.push(tuple(items[::-1]))

    def target(self, kind: type) -> Any:
        """Returns the container on top that is to be filled: one of `kind`, or an object of an unknown class."""
        value = self.top()
        if type(value) is not kind and not isinstance(value, Opaque):
            raise ValueError(f'items of a {kind.__name__} for a {type(value).__name__}')
        self.objects += 2
        return value

    def add_items(self, items: list[Any]) -> None:
        """Executes APPEND or APPENDS."""
        target = self.target(list)
        (target.items if isinstance(target, Opaque) else target).extend(items)

    def add_members(self, items: list[Any]) -> None:
        """Executes ADDITEMS."""
        target = self.target(set)
        self.objects += len(items)
        if isinstance(target, Opaque):
            target.items.extend(items)
        else:
            target.update(map(as_key, items))

    def add_pairs(self, items: list[Any]) -> None:
        """Executes SETITEM or SETITEMS."""
        target = self.target(dict)
        self.objects += len(items) // 2
        if len(items) % 2:
            raise ValueError('a key without a value')
        pairs = zip(items[::2], items[1::2], strict=True)
        if isinstance(target, Opaque):
            return target.pairs.extend(pairs)
        for key, value in pairs:
            if as_key(key) in target:
                raise ValueError(f'the key {ascii(key)[:80]} is given twice')
            target[key] = value

    # ---- globals and calls

    def refer(self, module: Any, name: Any) -> None:
        """Pushes a global, which must have a handler unless the reading is inert."""
        if type(module) is not str or type(name) is not str:
            raise ValueError('a global whose name is not text')
        if max(len(module), len(name)) > self.limits.name_chars:
            raise ValueError(f'a global with a name of more than {self.limits.name_chars} characters')
        ref = Ref(module, name)
        if (module, name) not in self.handlers and not self.inert:
            raise ValueError(f'the file asks for the global {ref}, which is not on the list')
        self.push(ref)

    def call(self) -> None:
        """Executes REDUCE or NEWOBJ: pushes the result of the handler of the global."""
        args, ref = self.pop(), self.pop()
        if type(ref) is not Ref or type(args) is not tuple:
            raise ValueError(f'a call of a {type(ref).__name__}; expected a global and a tuple of arguments')
        handler = self.handlers.get((ref.module, ref.name))
        if handler is None and self.inert:
            return self.push(Opaque(ref, args), 5)
        if handler is None:
            raise ValueError(f'the file calls the global {ref}, which may only be mentioned')
        try:
            made = handler(args)
        except ValueError as error:
            if type(error) is not ValueError:  # an error of ours that speaks for itself
                raise
            raise ValueError(f'{ref}: {error}') from error
        # One object of the file that is named repeatedly must not become many in memory.
        self.made_bytes += len(made) if type(made) is bytes else 0
        if self.made_bytes > self.source.size:
            raise ValueError('calls make more bytes than the file has')
        self.push(made, 3 + (len(made) if type(made) in (set, list, dict, tuple) else 0))

    def build(self) -> None:
        """Executes BUILD: gives the state on top to the object below it."""
        state, target = self.finished(self.pop()), self.pop()
        if isinstance(target, Pending) and target.result is None:
            target.result = target.build(state)
            self.push(target.result)
        elif isinstance(target, Opaque):
            target.state = state
            self.push(target)
        elif type(target) is dict and type(state) is dict and not state:
            self.push(target)  # attributes of a dict subclass: none
        else:
            raise ValueError(f'state for a {type(target).__name__}, which takes none')

    def identify(self) -> None:
        """Executes BINPERSID: pushes the caller's object of that persistent id."""
        if self.persistent is None:
            raise ValueError('a persistent id; this format has none')
        self.push(self.persistent(self.finished(self.pop())), 3)

    # ---- protocol, frames and marks

    def check_protocol(self) -> None:
        """Executes PROTO."""
        version = self.source.uint(1)
        if self.opcodes != 1 or not 2 <= version <= 5:
            raise ValueError(f'protocol {version} at opcode {self.opcodes}; expected 2 to 5, once, at the start')

    def begin_frame(self) -> None:
        """Executes FRAME: the file promises so many bytes, and the promise is checked."""
        start = self.source.pos - 1
        length = self.source.uint(8)
        if start < self.frame_end or length > self.source.size - self.source.pos:
            raise ValueError(f'a frame of {length} bytes within another, or beyond the end')
        self.frame_end = self.source.pos + length

    def mark(self) -> None:
        """Executes MARK."""
        if len(self.marks) >= self.limits.depth:
            raise ValueError(f'marks nest deeper than {self.limits.depth}')
        self.marks.append(len(self.stack))


STOP = ord('.')

# All opcodes that a file may contain. Absent: INST, OBJ, EXT*, PERSID, NEXT_BUFFER, NEWOBJ_EX, POP, DUP, the text forms
# of protocol 0, long integers of four length bytes, frozen sets.
ACTIONS: dict[int, Callable[[Machine], object]] = {
    STOP: lambda m: None,
    0x80: Machine.check_protocol,
    0x95: Machine.begin_frame,
    ord('('): Machine.mark,
    ord('N'): lambda m: m.push(None, 0),
    0x88: lambda m: m.push(True, 0),
    0x89: lambda m: m.push(False, 0),
    ord('K'): lambda m: m.push(m.source.uint(1), 0),  # BININT1
    ord('M'): lambda m: m.push(m.source.uint(2)),  # BININT2
    ord('J'): lambda m: m.integer(4),  # BININT
    0x8A: lambda m: m.integer(m.source.uint(1)),  # LONG1
    ord('G'): lambda m: m.push(struct.unpack('>d', m.source.take(8))[0]),  # BINFLOAT
    0x8C: lambda m: m.text(1),  # SHORT_BINUNICODE
    ord('X'): lambda m: m.text(4),  # BINUNICODE
    0x8D: lambda m: m.text(8),  # BINUNICODE8
    ord('C'): lambda m: m.push(m.source.take(m.source.uint(1))),  # SHORT_BINBYTES
    ord('B'): lambda m: m.push(m.source.take(m.source.uint(4))),  # BINBYTES
    0x8E: lambda m: m.push(m.source.take(m.source.uint(8))),  # BINBYTES8
    0x96: lambda m: m.push(m.source.take(m.source.uint(8))),  # BYTEARRAY8
    ord('U'): lambda m: m.push(m.source.take(m.source.uint(1))),  # SHORT_BINSTRING
    ord('T'): lambda m: m.push(m.source.take(m.source.uint(4))),  # BINSTRING
    ord(']'): lambda m: m.push([]),
    ord(')'): lambda m: m.push((), 0),
    ord('}'): lambda m: m.push({}),
    0x8F: lambda m: m.push(set(), 3),
    ord('t'): lambda m: m.push(tuple(m.pop_mark())),
    0x85: lambda m: m.make_tuple(1),
    0x86: lambda m: m.make_tuple(2),
    0x87: lambda m: m.make_tuple(3),
    ord('a'): lambda m: m.add_items([m.finished(m.pop())]),  # APPEND
    ord('e'): lambda m: m.add_items(m.pop_mark()),  # APPENDS
    ord('s'): lambda m: m.add_pairs([m.finished(m.pop()), m.finished(m.pop())][::-1]),  # SETITEM
    ord('u'): lambda m: m.add_pairs(m.pop_mark()),  # SETITEMS
    0x90: lambda m: m.add_members(m.pop_mark()),  # ADDITEMS
    ord('c'): lambda m: m.refer(m.source.line(m.limits.name_chars), m.source.line(m.limits.name_chars)),  # GLOBAL
    0x93: lambda m: m.refer(*[m.pop(), m.pop()][::-1]),  # STACK_GLOBAL
    ord('R'): Machine.call,
    0x81: Machine.call,  # NEWOBJ
    ord('b'): Machine.build,
    ord('Q'): Machine.identify,  # BINPERSID
    ord('q'): lambda m: m.remember(m.source.uint(1)),  # BINPUT
    ord('r'): lambda m: m.remember(m.source.uint(4)),  # LONG_BINPUT
    0x94: lambda m: m.remember(len(m.memo)),  # MEMOIZE
    ord('h'): lambda m: m.recall(m.source.uint(1)),  # BINGET
    ord('j'): lambda m: m.recall(m.source.uint(4)),  # LONG_BINGET
}
