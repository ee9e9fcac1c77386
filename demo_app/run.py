"""Run the whole service: `python -m demo_app.run`; stop it with Ctrl-C.

Creates the tables, loads the prices, seeds users, starts a broker, the web server and the Celery
worker, and prints the address. With `--check` it does the same on a free port with a temporary
database and broker, tries everything over HTTP and says what it saw.

Environment: PORT, and what `demo_app.app.create_app` names.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from demo_app import web
from demo_app.app import create_app
from demo_app.processes import (
    HOST,
    Child,
    DemoError,
    embedded_broker,
    is_free,
    run_command,
    wait_for_answer,
    web_server,
    worker,
)

SET_UP = ("create-tables", "load-prices", "seed")


@dataclass
class Service:
    """The running service."""

    url: str
    environment: dict[str, str]
    web: Child
    worker: Child

    def check(self) -> None:
        """Raise DemoError when a part of it has ended."""
        self.web.check()
        self.worker.check()


@contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[Service]:
    """Set up and start the service; stop it at the end, in the reverse order.

    Args:
        folder: where logs and the embedded broker's messages go.
        environment: the settings of the service. PORT must be among them.
    """
    port = int(environment["PORT"])
    if not is_free(port):
        raise DemoError(f"Port {port} is taken. Choose another: PORT={port + 1}.")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        settings = os.environ | environment | {"PYTHONUNBUFFERED": "1"}
        if "DEMO_BROKER_URL" not in settings:
            broker = embedded_broker(folder / "broker")
            settings["DEMO_BROKER_URL"] = stack.enter_context(broker)
        for command in SET_UP:
            run_command(command, settings)
        service = Service(f"http://{HOST}:{port}", settings, web_server(folder), worker(folder))
        # Stopped in the reverse order: no more requests, then no more tasks, then no broker.
        for child in (service.worker, service.web):
            stack.callback(child.stop)
            child.start(settings)
        wait_for_answer(f"{service.url}/health", service.web)
        yield service


def run() -> None:
    """Run the service until Ctrl-C or SIGTERM."""
    folder = Path(create_app().instance_path)
    print("Setting up; the first time takes some seconds.")
    with running(folder, {"PORT": str(web.port())}) as service:
        print(f"\nThe brokerage is at {service.url} (logs: {folder}). Ctrl-C stops it.")
        while True:
            service.check()
            time.sleep(0.5)


def check() -> bool:
    """Run the service with a temporary database, try it, stop it; tell whether all was well."""
    from demo_app.check import check_service  # needed by nobody who only runs it

    with tempfile.TemporaryDirectory(prefix="brokerage-") as folder:
        return check_service(Path(folder))


def main() -> int:
    """Run or check the service; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo_app.run", description=__doc__)
    parser.add_argument("--check", action="store_true", help="try the service, then stop it")
    arguments = parser.parse_args()
    # Also when a shell has started us in the background, where SIGINT is ignored.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if arguments.check:
            return 0 if check() else 1
        run()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130 if arguments.check else 0
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # Stopping must not be interrupted: it takes a limited time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
