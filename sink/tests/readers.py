"""Counts and sums one Weir table with every reader, by glob and by Delta log. Prints one JSON object.

usage: readers.py TABLE
"""

import datetime
import json
import os
import sys

import deltalake
import duckdb
import pandas
import polars
import pyarrow.compute
import pyarrow.dataset

table = sys.argv[1]
glob = f"{table}/**/part-*.parquet"
log = deltalake.DeltaTable(table)
found = {}


def note(reader, rows, total, devices, hours, first):
    """What a reader found: first is the earliest time, as text in UTC."""
    found[reader] = [int(rows), float(total), int(devices), int(hours), str(first)[:19].replace("T", " ")]


SQL = """select count(*), sum(value), count(distinct device_id), count(distinct (date, hour)),
         min(time)::varchar from {}"""
session = duckdb.connect()
session.execute("set timezone = 'UTC'")
note("duckdb glob", *session.execute(SQL.format(f"read_parquet('{glob}', hive_partitioning = true)")).fetchone())
# The delta extension of DuckDB is a download; the files come from the log all the same.
files = log.file_uris()
note("duckdb log", *session.execute(SQL.format(f"read_parquet({files}, hive_partitioning = true)")).fetchone())
with_device = session.execute(f"select count(*) from read_parquet('{glob}') where device_id = 'device-7'").fetchone()[0]
found["duckdb filter"] = with_device
types = session.execute(f"describe select device_id, time, value from read_parquet('{glob}')").fetchall()
found["duckdb types"] = [row[1] for row in types]


def arrow(reader, data):
    value = pyarrow.compute.sum(data["value"]).as_py()
    devices = pyarrow.compute.count_distinct(data["device_id"]).as_py()
    hours = data.select(["date", "hour"]).group_by(["date", "hour"]).aggregate([]).num_rows
    note(reader, data.num_rows, value, devices, hours, pyarrow.compute.min(data["time"]).as_py())


hive = pyarrow.dataset.partitioning(
    pyarrow.schema([("date", pyarrow.date32()), ("hour", pyarrow.int32())]), flavor="hive"
)
# `_delta_log` is ignored by its underscore.
arrow("pyarrow glob", pyarrow.dataset.dataset(table, format="parquet", partitioning=hive).to_table())
arrow("pyarrow log", log.to_pyarrow_table())


def frame(reader, data):
    hours = data.select(["date", "hour"]).n_unique()
    note(reader, data.height, data["value"].sum(), data["device_id"].n_unique(), hours, data["time"].min())


frame("polars glob", polars.read_parquet(glob, hive_partitioning=True))
frame("polars log", polars.read_delta(table))

data = pandas.read_parquet(table, partitioning=hive)
hours = len(data[["date", "hour"]].drop_duplicates())
note("pandas", len(data), data["value"].sum(), data["device_id"].nunique(), hours, data["time"].min())
data = log.to_pandas()
hours = len(data[["date", "hour"]].drop_duplicates())
note("pandas log", len(data), data["value"].sum(), data["device_id"].nunique(), hours, data["time"].min())

# Files are skipped by the statistics of the log: one day, one device.
found["deltalake version"] = log.version()
found["deltalake position"] = log.transaction_version("weir/readings/1")
found["deltalake owner"] = log.transaction_version("weir-owner/readings/1")
found["deltalake day"] = log.to_pyarrow_table(filters=[("date", "=", datetime.date(2026, 7, 29))]).num_rows
found["deltalake device"] = log.to_pyarrow_table(filters=[("device_id", "=", "device-7")]).num_rows
print(json.dumps(found))

# Several libraries with threads of their own in one process now and then abort it at the interpreter's exit
# ("terminate called without an active exception"): everything is said, so leave without that.
sys.stdout.flush()
os._exit(0)
