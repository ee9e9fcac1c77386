"""Real Celery workers, as processes of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

ROOT = Path(__file__).parent.parent


class Worker:
    """A running worker: its process, its node name for `inspect(destination=[name])`, its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", *, name: str, log_path: Path) -> None:
        self.process = process
        self.name = name
        self._log_path = log_path
        self._final_log: str | None = None

    @property
    def log(self) -> str:
        """All that the worker has written so far, to stdout and stderr; readable after its end."""
        if self._final_log is not None:
            return self._final_log
        return self._log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, *, timeout: float = 20) -> None:
        """Wait until the log contains the text; raise AssertionError with the log where it doesn't.

        Args:
            timeout: Seconds.
        """
        self._wait(lambda: text in self.log, what=f"log {text!r}", timeout=timeout)

    def kill(self) -> None:
        """SIGKILL the worker and its pool at once, as the kernel does when memory runs out."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, *, timeout: float = 10) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds for what is left then.

        An idle worker on RabbitMQ sleeps up to 10 seconds before it notices a SIGTERM: `kill()` it.
        """
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.kill()
        self._final_log = self.log

    def _wait(self, condition: Callable[[], bool], *, what: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            ended = self.process.poll() is not None
            if ended and condition():
                return
            if ended or time.monotonic() > deadline:
                how = (
                    f"ended with {self.process.returncode}" if ended else f"took {timeout} seconds"
                )
                raise AssertionError(f"the worker {how} and did not {what}:\n{self.log}")
            time.sleep(0.05)


@contextmanager
def celery_worker(
    app_module: str,
    *,
    pool: str = "prefork",
    concurrency: int = 1,
    env: Mapping[str, str] | None = None,
    queue: str = "celery",
    timeout: float = 30,
) -> Iterator[Worker]:
    """Run `celery -A app_module worker` until the block ends; yield it once it is ready.

    Args:
        app_module: What follows `-A`; found from the project's root, or from a PYTHONPATH in `env`.
        pool: prefork, threads, gevent or solo.
        env: Added to this process's environment.
        queue: The one queue that it consumes.
        timeout: Seconds until it must be ready.

    Raises:
        AssertionError: It ended or was not ready in time; the message has its log.
    """
    name = f"test-{uuid4().hex[:12]}@localhost"
    command = [sys.executable, "-m", "celery", "--app", app_module, "worker"]
    command += ["--pool", pool, "--concurrency", str(concurrency), "--queues", queue]
    command += ["--hostname", name, "--loglevel", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with TemporaryDirectory(prefix="activebase-") as directory:
        log_path = Path(directory) / "worker.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the pool's processes get a group that can be killed whole
            )
        worker = Worker(process, name=name, log_path=log_path)
        try:
            worker._wait(
                lambda: f"{name} ready." in worker.log, what="become ready", timeout=timeout
            )
            yield worker
        finally:
            worker.stop()
