"""A contender's process: it runs workloads when told to, and says how long each took.

``python -m benchmarks.worker CONTENDER`` reads the database's URL, then requests, a JSON value a
line, and answers each with a line. It ends with its input.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import PIPE, Popen
from time import perf_counter
from typing import Any

from .contenders import Work, class_of


def timed(work: Work) -> tuple[float, Any]:
    """Run a workload; returns the seconds from its ``yield`` on, and what it returns."""
    next(work)
    gc.collect()
    began = perf_counter()
    try:
        next(work)
    except StopIteration as ended:
        return perf_counter() - began, ended.value
    raise AssertionError("A workload has one yield.")


def main() -> None:
    """Answer the requests on standard input."""
    answers, sys.stdout = sys.stdout, sys.stderr
    contender = class_of(sys.argv[1])(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        request = json.loads(line)
        work = getattr(contender, request["method"])
        seconds, returned = timed(work(request["size"], **request["arguments"]))
        answers.write(json.dumps({"seconds": seconds, "returned": returned}) + "\n")
        answers.flush()


class Worker:
    """The other end of the process."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process

    def run(self, method: str, size: int, **arguments: Any) -> tuple[float, Any]:
        """Run a workload; returns its seconds, and what it returned.

        Raises:
            RuntimeError: the process has failed; it has said why.
        """
        answer = json.loads(
            self._ask({"method": method, "size": size, "arguments": arguments}) or "null"
        )
        if answer is None:
            raise RuntimeError(f"{self._process.args[-1]} has failed in {method}().")  # type: ignore[index]
        return answer["seconds"], answer["returned"]

    def _ask(self, request: object) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("The process has pipes.")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def worker(contender: str, url: str) -> Iterator[Worker]:
    """Start a contender's process; it is ended with the block."""
    command = [sys.executable, "-m", f"{__package__}.worker", contender]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            if process.stdin is not None:
                process.stdin.write(json.dumps(url) + "\n")
            yield Worker(process)
        finally:
            if process.stdin is not None:
                with suppress(BrokenPipeError):  # it has failed, and said why
                    process.stdin.close()
            process.wait(60)


if __name__ == "__main__":
    main()
