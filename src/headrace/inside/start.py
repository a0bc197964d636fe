"""The first program in the sandbox: sets the limits that only bind from in there, says that it runs, becomes the user's program.

``python -I -S start.py CHANNEL PROCESSES[,BYTES] COMMAND...``. Since Linux 5.14 RLIMIT_NPROC counts by user namespace, so it is
set here.
Without a CHANNEL (-1) it is a worker of ours: its standard streams are all it inherits. 0 PROCESSES: no limit; BYTES are those
of the largest file it may write.
"""

from __future__ import annotations

import os
import resource
import sys

OPEN = 1024
"""Files a process may have open."""


def main() -> None:
    """Does not return."""
    channel, (processes, *size), command = int(sys.argv[1]), map(int, sys.argv[2].split(",")), sys.argv[3:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN, OPEN))
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    for most in size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if channel >= 0:
        os.write(channel, b"started")
    os.closerange(3, OPEN)
    try:
        os.execvp(command[0], command)  # noqa: S606 no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
