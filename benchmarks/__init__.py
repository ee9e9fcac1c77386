"""Benchmarks, side by side: activebase, SQLAlchemy by hand, and other layers.

``make bench`` runs them all and ``python -m benchmarks --help`` says how to run a few.

Every contender does the same work on the same rows, each in a process of its own. A round runs
all of them once, and each round another one begins. What counts is a contender's time divided by
SQLAlchemy's by hand in the same round: when the machine is slow, it is slow for both. What each one
read and wrote is compared with what it should have, so nobody wins by doing less.

* ``rows.py`` and ``schema.py``: the rows and their tables.
* ``contenders/``: one module a contender, one method a workload.
* ``workloads.py``: the workloads: their sizes, and what must come out.
* ``worker.py`` and ``runner.py``: the processes, and the rounds.
* ``requests_and_tasks.py``: what Flask and Celery do around a unit of work.
* ``startup.py`` and ``growth.py``: what an import costs; how cost and memory grow.
* ``report.py`` and ``plots.py``: the tables and the pictures in docs/performance.md.
"""
