"""Runs one server as its child and ends it when asked to, or when the process that wanted it is gone.

Started as a script in a process of its own, so that it outlives a parent that is killed: it needs no thread, no
preexec_fn and nothing of the kernel that macOS lacks. It imports nothing of the package, to start in milliseconds.
"""

import os
import select
import shutil
import signal
import subprocess
import sys

POLL_SECONDS = 0.5
STOP_SECONDS = 5


def main(parent: int, scratch: str, command: list[str]) -> int:
    """Run `command` while the process `parent` lives, then remove the directory `scratch` (if any)."""
    try:
        return _run(parent, command)
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def _run(parent: int, command: list[str]) -> int:
    told, wake = _signals()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        sys.stdout.write(f"{server.pid}\n")
        sys.stdout.flush()
        # a server that was only stopped (SIGSTOP) wakes us as well
        while os.getppid() == parent and not told and server.poll() is None:
            if select.select([wake], [], [], POLL_SECONDS)[0]:
                os.read(wake, 64)
    finally:
        _stop(server)
    return server.returncode


def _signals() -> tuple[list[int], int]:
    """Return a list that gets the signals by which this process is told to end, and a descriptor.

    The descriptor becomes readable then, and when something happens to the child.
    """
    told: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: told.append(signum))
    return told, reading


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
