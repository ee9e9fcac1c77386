"""The Celery worker's entry: `celery --app demo_app.worker:celery_app worker`."""

from demo_app.app import create_app

celery_app = create_app().extensions["celery"]
