"""The web server: `python -m demo_app.web`, on the port that PORT names."""

import os
import signal
import sys
from types import FrameType

# Waitress: one process with threads, pure Python, runs wherever Python does; Flask's own server is
# for development only, and gunicorn needs Unix.
import waitress

from demo_app.app import create_app

HOST = "127.0.0.1"
DEFAULT_PORT = 5000


def main() -> None:
    """Serve until SIGTERM; requests that are running are answered first."""
    signal.signal(signal.SIGTERM, _stop)
    waitress.serve(create_app(), host=HOST, port=port(), threads=8)


def port() -> int:
    """Return the port to serve on."""
    return int(os.environ.get("PORT", DEFAULT_PORT))


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit()


if __name__ == "__main__":
    main()
