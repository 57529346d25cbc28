"""Compares a recording with the tables made of it: recording.py RECORDING.csv TABLES. The last line is JSON.

Uses none of Weir's code: DuckDB reads the CSV, with all digits of the values, and the Parquet files.
"""

import json
import sys

import duckdb

recording, tables = sys.argv[1:]
db = duckdb.connect()
db.sql("SET TimeZone = 'UTC'")
db.sql(f"""CREATE VIEW recorded AS
    SELECT CAST(timestamp AS TIMESTAMPTZ) AS time, CAST(value AS DOUBLE) AS value
    FROM read_csv('{recording}', header = true, columns = {{'timestamp': 'TIMESTAMP', 'value': 'VARCHAR'}})""")
for table in ("readings", "alerts"):
    db.sql(f"CREATE VIEW {table} AS SELECT time, value FROM read_parquet('{tables}/{table}/date=*/hour=*/*.parquet')")


def differing(left, right):
    """Rows in only one of two multisets, compared by the bits of the value."""
    return sum(db.sql(f"SELECT count(*) FROM ({a} EXCEPT ALL {b})").fetchall()[0][0] for a, b in ((left, right), (right, left)))


print(json.dumps({
    "rows": db.sql("SELECT count(*) FROM readings").fetchall()[0][0],
    "rows_differing": differing("SELECT time, value FROM recorded", "SELECT time, value FROM readings"),
    "alerts": db.sql("SELECT count(*) FROM alerts").fetchall()[0][0],
    "alerts_differing": differing("SELECT time, value FROM recorded WHERE value < 50", "SELECT time, value FROM alerts"),
}))
