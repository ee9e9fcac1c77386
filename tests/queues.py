"""Brokers that no two tests share."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from kombu.connection import Connection
from redis import Redis

CLAIM = "activebase-test-claim"


@contextmanager
def empty_redis_database(server_url: str) -> Iterator[str]:
    """Claim an empty database of the server's; yield its URL, flush it at the end.

    Database 0 is left alone: it is the one where others keep their data.
    """
    for number in range(1, 16):
        url = urlsplit(server_url)._replace(path=f"/{number}").geturl()
        with Redis.from_url(url) as client:
            # Claim first, then look: two test runs can't both find the same one empty.
            if not client.set(CLAIM, 1, nx=True):
                continue
            if client.dbsize() > 1:
                client.delete(CLAIM)
                continue
            try:
                yield url
            finally:
                client.flushdb()
            return
    raise RuntimeError("no empty Redis database among 1 to 15: flush one that tests have left")


def delete_queue(server_url: str, name: str) -> None:
    """Delete a RabbitMQ queue and the exchange of the same name that Celery declares for it."""
    with Connection(server_url) as connection:  # type: ignore[no-untyped-call]  # partly typed
        channel = connection.default_channel
        channel.queue_delete(name)
        channel.exchange_delete(name)
