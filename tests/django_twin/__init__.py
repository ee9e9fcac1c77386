"""The same tables, read by activebase, by Django's ORM and by a few lines of Python.

`models` has the tables, `django_app` Django's models of them, `rows` what is in them. A
`Question` is put to all three: to `ask()` of `activebase_side`, to `Django` of `django_side`, which
is a process of its own, and to `Oracle` of `oracle`. `lookups` lists and generates what is asked,
`decisions` tells where Django's answer is not the one that activebase wants.
"""
