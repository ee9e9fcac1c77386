"""Bulk: many rows with few statements, and without a flush for each record.

`MyBase.bulk_create` and `MyBase.bulk_update` are written here. Read it in this order:

    create.py      bulk_create(): what is asked for, step by step
    layout.py      a model as bulk statements see it: its tables, columns and relations
    rows.py        records and dicts, taken apart into columns of values
    defaults.py    what columns get that rows leave out
    conflicts.py   "ignore" and "update": which key is meant, and what is set
    statements.py  how a statement is sent
    insert.py      INSERT in batches, counted or with the records back
    arrays.py      INSERT from arrays, the fast way of PostgreSQL
    targets.py     the rows that bulk_update() is about
    update.py      bulk_update()
"""

from .conflicts import Action
from .create import Options, bulk_create, bulk_create_records
from .update import bulk_update

__all__ = ["Action", "Options", "bulk_create", "bulk_create_records", "bulk_update"]
