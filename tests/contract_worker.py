"""The Celery app of the contract suite, for a worker process: `celery -A tests.contract_worker`."""

import os
from pathlib import Path

from activebase import configure
from tests import scenarios
from tests.boundaries import contract_celery
from tests.witness import Witness

url = os.environ["CONTRACT_DATABASE"]
scenarios.witness = Witness(url, Path(os.environ["CONTRACT_LOG"]))
scenarios.witness.watching().__enter__()  # as long as the process lives
configure(url)

redis = os.environ["CONTRACT_REDIS"]
celery = contract_celery(broker_url=redis, result_backend=redis)
