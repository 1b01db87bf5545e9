"""How RecBole's functions are changed where they stand, so that whoever imported one before us runs the changed one."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

_mended_source: dict[FunctionType, str] = {}


def mend(function: Callable[..., Any], old: str, new: str) -> bool:
    """Exchange ``old`` for ``new`` in the source of ``function`` and recompile it in place.

    ``function`` stays the same object with the same globals, defaults and closure: every name bound to it, a
    method's class included, sees the change. Decorators are looked through and stay. ``new`` has as many
    lines as ``old``, so that tracebacks show RecBole's own lines.

    Returns False where ``old`` does not occur: a fork or another patch has already changed the line.
    Raises RuntimeError where the source cannot be read, or :func:`patch_in_place` has come before.
    """
    written: FunctionType = inspect.unwrap(function)
    if "_replacement" in (written.__kwdefaults__ or {}):
        raise RuntimeError(f"{written.__qualname__} is patched already, which mending would undo; mend it before")
    source = _mended_source.get(written) or _source(written)
    if old not in source:
        return False
    source = source.replace(old, new)
    written.__code__ = _recompile(written, source)
    _mended_source[written] = source
    return True


def mend_each(functions: Iterable[Callable[..., Any]], old: str, new: str) -> bool:
    """:func:`mend` every one of ``functions``; whether any was mended."""
    return any([mend(function, old, new) for function in functions])


def _source(function: FunctionType) -> str:
    """As ``inspect.getsource``, which looks through all modules there are for each function."""
    lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
    if not lines:
        raise RuntimeError(
            f"{function.__module__}.{function.__qualname__} does not run on the installed libraries and its "
            "source cannot be read to mend it; type: pip install --no-deps recbole==1.2.1"
        )
    return "".join(inspect.getblock(lines[function.__code__.co_firstlineno - 1 :]))


def _recompile(function: FunctionType, source: str) -> CodeType:
    """Compile ``source`` as the text of ``function``; a method in a class body, as ``super()`` needs."""
    code = function.__code__
    is_method = source[0].isspace()
    header = "class _:\n" if is_method else ""
    lines_above = "\n" * (code.co_firstlineno - 1 - header.count("\n"))
    compiled = compile(lines_above + header + source, code.co_filename, "exec", dont_inherit=True)
    if is_method:
        compiled = _nested_code(compiled, "_")
    return _nested_code(compiled, code.co_name).replace(co_qualname=code.co_qualname)


def _nested_code(code: CodeType, name: str) -> CodeType:
    return next(const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == name)


def patch_in_place(function: FunctionType, replacement: Callable[..., Any]) -> FunctionType:
    """Make every call of ``function`` call ``replacement``, also where it was imported by name before.

    Returns the original as a new function, for ``replacement`` to call. Patching again wraps the last patch.
    Raises ValueError for a function with a closure, whose code Python does not let be exchanged.
    """
    if function.__closure__:
        raise ValueError(f"{function.__qualname__} has a closure: wrap it where it is made, not in place")
    original = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    original.__kwdefaults__ = function.__kwdefaults__
    original.__doc__ = function.__doc__
    vars(function)["__signature__"] = inspect.signature(function)

    # The replacement travels as a default: this code runs under the globals of `function`, without a closure.
    def call(*args: Any, _replacement: Callable[..., Any], **kwargs: Any) -> Any:
        return _replacement(*args, **kwargs)

    function.__kwdefaults__ = {"_replacement": replacement}
    function.__defaults__ = None
    function.__code__ = call.__code__.replace(co_name=function.__name__, co_qualname=function.__qualname__)
    return original
