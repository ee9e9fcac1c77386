"""The whole service: real processes, a real broker, HTTP from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest

from demo_app.processes import HOST, free_port, is_free

# A set-up, a web server and a worker start, on a machine that may be busy.
pytestmark = pytest.mark.timeout(180)

COMMAND = (sys.executable, "-m", "demo_app.run")


def environment(**values: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("DEMO_")}
    return own | values


def run_check(**values: str) -> subprocess.CompletedProcess[str]:
    with started_check(**values) as process:
        output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def started_check(**values: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--check"],
        env=environment(**values),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def started(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        COMMAND,
        env=environment(DEMO_INSTANCE=str(folder), PORT=str(port), PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_until(output: IO[str] | None, text: str) -> str:
    seen = ""
    for line in output or ():
        seen += line
        if text in line:
            return seen
    pytest.fail(f"the output ends without {text!r}:\n{seen}")


def all_children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of the service once the worker has forked its own."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        if len(children) >= 6:  # broker, web server, worker with its timetable and two of its own
            return children
        time.sleep(0.2)
    pytest.fail(f"the worker has not started: {children}")


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=10)[1]


def test_check_passes_on_sqlite_with_the_embedded_broker() -> None:
    result = run_check()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "its first step is undone" in result.stdout
    assert "all is well" in result.stdout


def test_check_passes_on_postgresql(postgres_url: str) -> None:
    result = run_check(DEMO_DATABASE_URI=postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_two_checks_at_a_time_pass_on_one_rabbitmq(rabbitmq_server_url: str) -> None:
    with started_check(DEMO_BROKER_URL=rabbitmq_server_url) as other:
        result = run_check(DEMO_BROKER_URL=rabbitmq_server_url)
        output, errors = other.communicate()
    assert result.returncode == 0, result.stdout + result.stderr
    assert other.returncode == 0, output + errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_the_data_stay(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with started(tmp_path, port) as process:
        read_until(process.stdout, f"http://{HOST}:{port}")
        with build_opener(ProxyHandler({})).open(f"http://{HOST}:{port}/prices") as answer:
            assert len(json.load(answer)["prices"]) == 5
        children = all_children(process)
        process.send_signal(number)
        assert process.wait(60) == 0
    assert wait_until_gone(children) == []
    assert is_free(port)
    assert (tmp_path / "demo.db").stat().st_size > 0


def test_tells_which_part_has_ended_and_stops_the_rest(tmp_path: Path) -> None:
    port = free_port()
    with started(tmp_path, port) as process:
        read_until(process.stdout, f"http://{HOST}:{port}")
        children = psutil.Process(process.pid).children(recursive=True)
        web = next(child for child in children if "demo_app.web" in child.cmdline())
        web.kill()
        read_until(process.stdout, "The web server has ended with code -9")
        assert process.wait(60) == 1
    assert wait_until_gone(children) == []


def test_refuses_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with started(tmp_path, port) as process:
            read_until(process.stdout, f"Port {port} is taken. Choose another: PORT=")
            assert process.wait(60) == 1
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_database_that_is_not_there(tmp_path: Path) -> None:
    result = subprocess.run(
        COMMAND,
        env=environment(
            DEMO_INSTANCE=str(tmp_path),
            DEMO_DATABASE_URI=f"postgresql+psycopg://nobody@{HOST}:{free_port()}/none",
            PORT=str(free_port()),
        ),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "`flask --app demo_app create-tables` has failed" in result.stderr
