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
    wake = _signal_pipe()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        sys.stdout.write(f"{server.pid}\n")
        sys.stdout.flush()
        while os.getppid() == parent and not select.select([wake], [], [], POLL_SECONDS)[0]:
            pass
    finally:
        _stop(server)
    return server.returncode


def _signal_pipe() -> int:
    """Return a descriptor that becomes readable when this process is told to end, or its child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
