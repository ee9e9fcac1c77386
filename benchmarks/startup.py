"""What an import costs: time and memory of ``import activebase`` and ``import sqlalchemy.orm``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

_OURS, _BASE = "activebase", "sqlalchemy.orm"

_CODE = """
import json, sys, time
began = time.perf_counter()
import {module}
seconds = time.perf_counter() - began
import psutil
memory = psutil.Process().memory_info().rss
loaded = [name for name in ("flask", "celery") if name in sys.modules]
print(json.dumps([seconds, memory, loaded]))
"""


@dataclass(frozen=True)
class Startup:
    """Medians, and ratios of ``import activebase`` to ``import sqlalchemy.orm``."""

    #: Seconds.
    seconds: float
    seconds_of_base: float
    time_ratio: float
    #: Bytes that the process holds.
    memory: float
    memory_of_base: float
    memory_ratio: float


def measure(*, rounds: int) -> Startup:
    """Import both in new processes, in turn.

    Raises:
        RuntimeError: ``import activebase`` has loaded Flask or Celery.
    """
    for module in (_OURS, _BASE):
        _import(module)  # so that both find bytecode
    pairs = [(_import(_OURS), _import(_BASE)) for _ in range(3 * rounds)]
    ours, base = zip(*pairs, strict=True)
    return Startup(
        seconds=median(each[0] for each in ours),
        seconds_of_base=median(each[0] for each in base),
        time_ratio=median(own[0] / other[0] for own, other in pairs),
        memory=median(each[1] for each in ours),
        memory_of_base=median(each[1] for each in base),
        memory_ratio=median(own[1] / other[1] for own, other in pairs),
    )


def _import(module: str) -> tuple[float, float]:
    command = [sys.executable, "-c", _CODE.format(module=module)]
    writing_bytecode = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=writing_bytecode)
    seconds, memory, loaded = json.loads(done.stdout)
    if loaded:
        raise RuntimeError(f"import {module} has loaded {', '.join(loaded)}.")
    return seconds, memory
