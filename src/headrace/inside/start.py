"""The first program in the sandbox: sets the limits that only bind from in there, says that it runs, becomes the user's program.

``python -I -S start.py CHANNEL PROCESSES COMMAND...``. Since Linux 5.14 RLIMIT_NPROC counts per user namespace, so it is set here.
"""

from __future__ import annotations

import os
import resource
import sys


def main() -> None:
    """Does not return."""
    channel, processes, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    if channel >= 0:
        os.write(channel, b"started")
    os.closerange(3, 1024)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
