"""Looking on while a network is called."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

See = Callable[[str, nn.Module, Any, Any], None]  # name, part, its arguments, its answer (None where it is asked before it answers)


@contextmanager
def watching(parts: Mapping[str, nn.Module], see: See, before: bool = False) -> Iterator[None]:
    """`see` each of the named parts whenever it has answered, or `before` it does."""

    def asked(name: str, part: nn.Module, args: Any) -> None:
        see(name, part, args, None)

    def answered(name: str, part: nn.Module, args: Any, answer: Any) -> None:
        see(name, part, args, answer)

    hooks = [
        part.register_forward_pre_hook(partial(asked, name)) if before else part.register_forward_hook(partial(answered, name))
        for name, part in parts.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
