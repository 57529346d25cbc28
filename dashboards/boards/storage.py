"""Storage: the log, the tables, and how long the disk takes."""

from boards.layout import STAGE, Board, Row, variable
from boards.panels import BLUE, ORANGE, RED, S, bars, curves, heat, p50_p99, quantile, rate, stat, total

TABLE = variable("table", "Table", f"label_values(weir_sink_committed_rows_total{{{S}}}, table)")
T = 'table=~"$table"'

SHARE = f"max(weir_streams_log_bytes{{{S}}} / weir_streams_log_quota_bytes{{{S}}})"
LOG_GROWS = f"deriv(weir_streams_log_bytes{{{S}}}[5m])"
ROWS, FILES, BYTES = (f"weir_sink_committed_{what}_total" for what in ("rows", "files", "bytes"))
INCREASE = f"sum by (table) (increase(%s{{{S},{T}}}[$__range]))"
# The alerts WeirStreamsFillUp and WeirStreamsFull begin there.
FULL = [(0.5, ORANGE), (0.8, RED)]

NOW = [
    (4, stat("Log", "Bytes of all segments on disk.", "bytes", [(total("weir_streams_log_bytes"), "bytes")])),
    (4, stat(
        "Of its quota", "At 100 % acknowledgements stop until consumers have passed on. Alert: WeirStreamsFull.",
        "percentunit", [(SHARE, "used")], FULL,
    )),
    (4, stat("Segments", "Files of the log, the active one included.", "none",
             [(total("weir_streams_segments"), "segments")])),
    (4, stat("Files written", "Data files committed to the tables since the start.", "none",
             [(total(FILES, T), "files")])),
    (4, stat("Rows a file", "Of the files committed in the time shown. Small files cost every reader.", "none",
             [(f"sum(increase({ROWS}{{{S},{T}}}[$__range])) / sum(increase({FILES}{{{S},{T}}}[$__range]))", "rows")])),
    (4, stat(
        "Damage", "Records of the log found damaged, and damaged stores of positions, since the start. Alerts: "
        "WeirRecordsDamaged, WeirPositionsDamaged.", "none",
        [(total("weir_streams_quarantined_records_total"), "records"),
         (total("weir_streams_damaged_positions_stores"), "positions")], [(1, RED)],
    )),
]

LOG = [
    (8, curves(
        "Log and quota", "Retention bounds the log to streams.retention_bytes when all consumers have passed; what they "
        "have not passed may fill it to the quota.", "bytes",
        [(total("weir_streams_log_bytes", by="stage"), "{{stage}}"),
         (total("weir_streams_log_quota_bytes", by="stage"), "{{stage}}: quota")],
    )),
    (8, curves(
        "Written, and deleted by retention", "Bytes appended, and what of the log's size went meanwhile.", "Bps",
        [(rate("weir_streams_appended_bytes_total"), "written"),
         (f"clamp_min(sum(rate(weir_streams_appended_bytes_total{{{S}}}[5m])) - sum({LOG_GROWS}), 0)", "deleted")],
    )),
    (8, curves(
        "Records appended, by stream", "Records made durable. A record holds up to a group of messages.",
        "count:records/s",
        [(rate("weir_streams_appended_records_total", by="stream"), "{{stream}}")],
    )),
    (8, curves(
        "fdatasync", "Of the active segment. Each acknowledgement waits for one. Alert: WeirSyncSlow.", "s",
        p50_p99("weir_streams_fdatasync_seconds"), [(0.1, RED)],
    )),
    (8, heat(
        "fdatasync, spread", "Syncs a second by how long they took: two clouds are two kinds of moments of the disk.",
        "s", "weir_streams_fdatasync_seconds",
    )),
    (8, curves(
        "Group commit", "Write and sync of one group, and how large groups are. Larger groups mean more load, not "
        "more time.", "s", p50_p99("weir_streams_group_commit_seconds"),
    )),
    (8, curves(
        "Size of a group", "Bytes that one sync makes durable.", "bytes", p50_p99("weir_streams_group_commit_bytes"),
    )),
    (8, curves(
        "Damaged or gone", "Records that a group skipped because they were damaged or deleted. Alert: WeirRecordsLost.",
        "count:records/s", [(rate("weir_consumer_group_lost_records_total", by="group"), "{{group}}")], [(0.001, RED)],
    )),
    (8, curves(
        "On a cluster: append", "From sending a flight of records until the cluster has them.", "s",
        p50_p99("weir_fluvio_append_seconds"),
    )),
]

TABLES = [
    (8, curves(
        "Rows committed", "By table.", "count:rows/s", [(rate(ROWS, T, "table"), "{{table}}")],
    )),
    (8, curves(
        "Commit", "Sort, write, fsync, entry in the table's log; the slowest hundredth, by table.", "s",
        [(quantile(0.99, "weir_sink_commit_seconds", T, "table"), "{{table}}: p99"),
         (quantile(0.5, "weir_sink_commit_seconds", T, "table"), "{{table}}: p50")], [(10, ORANGE)],
    )),
    (8, curves(
        "Received to stored, p99", "Of the oldest row of each commit. sink.roll_age_seconds is most of it.", "s",
        [(quantile(0.99, "weir_sink_freshness_seconds", T, "table"), "{{table}}")], drill="weir-pipeline",
    )),
    (8, bars(
        "Rows a file, by table", "Of the files committed in the time shown.", "none",
        [(f"{INCREASE % ROWS} / {INCREASE % FILES}", "{{table}}")], [(None, ORANGE), (1000, BLUE)],
    )),
    (8, bars(
        "Bytes a row, by table", "Compressed, of the files committed in the time shown.", "bytes",
        [(f"{INCREASE % BYTES} / {INCREASE % ROWS}", "{{table}}")], [(None, BLUE)],
    )),
    (8, curves(
        "Files committed", "By table. A commit writes one for each hour and partition that its rows are in.",
        "count:files/s", [(rate(FILES, T, "table"), "{{table}}")],
    )),
    (8, curves(
        "Held in memory", "Bytes that wait for the next commit, by table; at sink.roll_bytes it is made.", "bytes",
        [(total("weir_sink_buffered_bytes", T, "table"), "{{table}}")],
    )),
    (8, curves(
        "Rows held in memory", "They are in the log as well.", "count:rows",
        [(total("weir_sink_buffered_rows", T, "table"), "{{table}}")],
    )),
    (8, curves(
        "Conflicts and repairs", "Versions that another writer of the table committed first, and files of unfinished "
        "commits deleted at a start.", "none",
        [(total("weir_sink_commit_conflicts_total", T, "table"), "{{table}}: conflicts"),
         (total("weir_sink_recovered_files_total", T, "table"), "{{table}}: files deleted")],
    )),
]

BOARD = Board(
    "weir-storage", "Weir: Storage", "The log and its retention, the tables and their files, and how long the disk takes.",
    [STAGE, TABLE],
    [Row("Now", 4, NOW), Row("Log", 7, LOG), Row("Tables", 7, TABLES)],
)
