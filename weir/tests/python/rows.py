"""Rows of a table by device; the last line is JSON."""

import json
import sys
from collections import Counter

import pyarrow.dataset

column = pyarrow.dataset.dataset(sys.argv[1], format="parquet", partitioning="hive").to_table(["device_id"])
print(json.dumps({"devices": Counter(column["device_id"].to_pylist())}))
