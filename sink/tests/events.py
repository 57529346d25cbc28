"""Counts one Weir table of events with every reader, by glob and by Delta log. Prints one JSON object.

usage: events.py TABLE

Each reader tells: rows, distinct event ids, devices, sum of seq, rows without boot, earliest time in UTC.
"""

import json
import os
import sys

import deltalake
import duckdb
import pandas
import polars
import pyarrow.dataset

table = sys.argv[1]
glob = f"{table}/**/part-*.parquet"
log = deltalake.DeltaTable(table)
found = {}

SQL = """select count(*), count(distinct event_id), count(distinct device_id), sum(seq)::bigint,
         count(*) filter (boot is null), min(time)::varchar from {}"""
session = duckdb.connect()
session.execute("set timezone = 'UTC'")


def sql(reader, source):
    *numbers, first = session.execute(SQL.format(source)).fetchone()
    found[reader] = [*numbers, first[:19]]


sql("duckdb glob", f"read_parquet('{glob}', hive_partitioning = true)")
sql("duckdb log", f"read_parquet({log.file_uris()}, hive_partitioning = true)")


def frame(reader, data):
    """What Polars finds in `data`, whoever read it."""
    first = data["time"].min()
    found[reader] = [
        data.height,
        data["event_id"].n_unique(),
        data["device_id"].n_unique(),
        data["seq"].sum(),
        data["boot"].null_count(),
        str(first)[:19],
    ]


# `_delta_log` is ignored by its underscore.
frame("pyarrow glob", polars.from_arrow(pyarrow.dataset.dataset(table, format="parquet").to_table()))
frame("pyarrow log", polars.from_arrow(log.to_pyarrow_table()))
frame("polars glob", polars.read_parquet(glob, hive_partitioning=True))
frame("polars log", polars.read_delta(table))

data = log.to_pandas()
found["pandas"] = [
    len(data),
    int(data["event_id"].nunique()),
    int(data["device_id"].nunique()),
    int(data["seq"].sum()),
    int(data["boot"].isna().sum()),
    str(data["time"].min())[:19],
]
assert pandas.api.types.is_string_dtype(data["data"].dtype)
print(json.dumps(found))

# See readers.py: several libraries with threads of their own may abort at the interpreter's exit.
sys.stdout.flush()
os._exit(0)
