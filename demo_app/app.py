"""The application factory."""

import os
from collections.abc import Mapping
from datetime import date
from typing import Any

from celery.schedules import crontab
from flask import Flask
from flask.json.provider import DefaultJSONProvider

from activebase.celery import celery_init_app
from activebase.flask import ActiveBase
from demo_app import cli, errors, views
from demo_app.database import db

LARGEST_REQUEST = 64 * 1024  # bytes


class IsoJSONProvider(DefaultJSONProvider):
    """JSON with dates as in ISO 8601: Flask's own writes them as HTTP headers do."""

    @staticmethod
    def default(o: Any) -> Any:
        return o.isoformat() if isinstance(o, date) else DefaultJSONProvider.default(o)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the service.

    Args:
        config: Flask settings that replace those from the environment.

    Environment:
        DEMO_DATABASE_URI: a database; default a SQLite file in Flask's instance folder.
        DEMO_BROKER_URL: Redis or RabbitMQ; default a Redis on this machine. `demo_app.run` sets it
            to the broker it has started.
        DEMO_QUEUE: the queue that the worker reads.
        DEMO_INSTANCE: another instance folder, an absolute path.
    """
    app = Flask("demo_app", instance_path=os.environ.get("DEMO_INSTANCE"))
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DEMO_DATABASE_URI", "sqlite:///demo.db"),
        MAX_CONTENT_LENGTH=LARGEST_REQUEST,
        ACTIVEBASE_READ_ONLY_METHODS={"GET", "HEAD", "OPTIONS"},
        CELERY=celery_settings(),
    )
    app.config.from_mapping(config or {})
    app.json = IsoJSONProvider(app)

    db.init_app(app)
    ActiveBase(app, db)
    celery_init_app(app)

    app.register_blueprint(views.pages)
    app.register_blueprint(views.api)
    app.register_blueprint(cli.commands)
    errors.init_app(app)
    return app


def celery_settings() -> dict[str, Any]:
    """Return Celery's settings, from the environment."""
    return {
        "broker_url": os.environ.get("DEMO_BROKER_URL", "redis://127.0.0.1:6379/0"),
        "broker_connection_retry_on_startup": True,
        "task_default_queue": os.environ.get("DEMO_QUEUE", "demo"),
        # What a task does is in the database; nobody asks for its result.
        "task_ignore_result": True,
        # An order must be answered even when the broker is down, and soon.
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1},
        "beat_schedule": {
            "revalue-portfolios": {
                "task": "demo_app.tasks.revalue_portfolios",
                "schedule": crontab(minute="0", hour="6", day_of_month="1"),
            }
        },
    }
