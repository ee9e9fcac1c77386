"""Asks for one and the same article in several threads at once; prints what it got.

Run with the database's URL; starts when it reads a line.
"""

import sys
import threading

from activebase import configure, unit_of_work
from tests.goods import Article

THREADS = 16


@unit_of_work
def ask() -> str:
    record, created = Article.get_or_create(sku="lamp", defaults={"price": 5})
    return f"{record.id} {created}"


def main(url: str) -> None:
    configure(url, pool_size=THREADS)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(THREADS)]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
