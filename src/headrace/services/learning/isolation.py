"""How the processes that run a company's own code are kept from everything else on the machine.

The code of the platform's first company is its operator's own. Everybody else's runs sandboxed, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

Wrap: TypeAlias = Callable[[Sequence[str]], list[str]]
"""A command -> the same in a sandbox: the company's folder is all it can write, and there is no network."""


class Guard(Protocol):
    """Holds one process, and all it starts, to what a company may use. Its verbs block."""

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs it sandboxed and bounded."""
        ...

    def over(self, process: int) -> str:
        """Which bound this process (0: none runs yet) is over, in a sentence; "" while it is within all."""
        ...

    def close(self) -> str:
        """Let go after its end; the bound for which the kernel ended it, or ""."""
        ...


class Isolation(NamedTuple):
    """What to do with a company's workers."""

    trusted: bool = False
    """It is the operator's own company: its code may do what the platform may."""
    wrap: Wrap | None = None
    """Makes the sandbox, where there is one."""
    reason: str = "no sandbox is set up"
    """Why there is none, and what to do."""

    company: str = ""
    """Whose code it is, for people."""
    guard: Callable[[], Guard] | None = None
    """Holds one process to its bounds. Blocks. None: there are no bounds."""
    alone: Callable[[], Guard] | None = None
    """The same, of a process that sees what the company was sent, nothing of what its models have left, and writes nothing."""

    blind: Callable[[], Guard] | None = None
    """The same, of a process that sees nothing of the company's at all."""

    seconds: float = 10.0
    """One question to a model may take."""
    memory: int = 0
    """Bytes of memory of one process; 0: unlimited."""

    @property
    def may_run(self) -> bool:
        """Whether the company's own code may run at all."""
        return self.trusted or self.wrap is not None

    def command(self, command: Sequence[str]) -> list[str]:
        """The command line of a worker."""
        return list(command) if self.trusted or self.wrap is None else self.wrap(command)

    def parent(self, process: int) -> int:
        """The process id a worker sees as its parent's; 0: another one, in a sandbox."""
        return process if self.trusted or self.wrap is None else 0


TRUSTED = Isolation(trusted=True, reason="")
