"""The Django app; its models are only imported where Django is set up, see `django_side`."""
