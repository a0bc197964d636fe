"""The first program in the sandbox: sets the limits that only bind from in there, says that it runs, becomes the user's program.

``python -I -S start.py CHANNEL PROCESSES COMMAND...``. Since Linux 5.14 RLIMIT_NPROC counts by user namespace: it is set here.
Without a CHANNEL (-1) it is a worker of ours that inherits what is open, and has no limits but the sandbox.
"""

from __future__ import annotations

import os
import resource
import sys

OPEN = 1024
"""Files a process may have open."""


def main() -> None:
    """Does not return."""
    channel, processes, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if channel >= 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN, OPEN))
        os.write(channel, b"started")
        os.closerange(3, OPEN)
    try:
        os.execvp(command[0], command)  # noqa: S606 no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
