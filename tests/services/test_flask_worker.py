"""The worker of a Flask app: the app's context, database and session around every task."""

from tests.databases import Database
from tests.services.sites import site


def test_tasks_of_a_flask_app_keep_the_promise(
    postgres_database: Database, redis_url: str, name: str
) -> None:
    with site(
        postgres_database, redis_url, pool="prefork", module="tests.services.flask_app"
    ) as shop:
        assert shop.run("save", name) == "shop"
        assert shop.error_of("save_and_raise", f"{name} raised") == "ValueError"
        published = shop.result(shop.run("save_and_publish", f"{name} published"))
        assert published.get(timeout=20) == 1
        assert shop.members(name) == ["", "published"]
        assert shop.works()
