"""The Celery app of the contract suite, for a worker process: `celery -A tests.contract_worker`."""

import os
from pathlib import Path
from typing import Any

from celery import Task

from activebase import configure
from tests import scenarios
from tests.boundaries import contract_celery, left_in
from tests.witness import Witness

url = os.environ["CONTRACT_DATABASE"]
scenarios.witness = Witness(url, Path(os.environ["CONTRACT_DIRECTORY"]))
scenarios.witness.watch()
engine = configure(url)

redis = os.environ["CONTRACT_REDIS"]
celery = contract_celery(broker_url=redis, result_backend=redis)


@celery.task(name="left", base=Task, shared=False)
def left() -> dict[str, Any]:
    """Look on from outside of any unit."""
    return left_in(engine)
