"""Pipeline: the way of a reading from left to right, and whether all arrive."""

from boards.layout import STAGE, Board, Row, variable
from boards.panels import BLUE, ORANGE, RED, S, bars, curves, p50_p99, quantile, rate, stat, total

GROUP = variable("group", "Group", f"label_values(weir_consumer_group_lag_records{{{S}}}, group)")
G = 'group=~"$group"'

# A disk that syncs in less than a millisecond gives acknowledgements in a few; a device notices a tenth of a second.
SLOW_ACKNOWLEDGE = [(0.1, ORANGE), (1, RED)]
# The alert WeirLag begins at five minutes.
LAG = [(60, ORANGE), (300, RED)]
# Anything but 0, on either side.
UNBALANCED = [(None, RED), (0, "green"), (1, RED)]

HOPS = [
    (5, stat(
        "1 Door: received and acknowledged", "Readings that devices and brokers sent, and those acknowledged to them. "
        "Acknowledged is durable.", "count:readings/s",
        [(rate("weir_ingest_received_readings_total"), "received"),
         (rate("weir_ingest_acknowledged_readings_total"), "acknowledged")], drill="weir-fleet",
    )),
    (5, stat(
        "2 Streams: made durable", "Bytes that the log has synced, or that the cluster has acknowledged.", "Bps",
        [(f"{rate('weir_streams_appended_bytes_total')} or {rate('weir_fluvio_appended_bytes_total')}", "bytes")],
        drill="weir-storage",
    )),
    (5, stat(
        "3 Rules: looked at", "Readings that the rules have read, resends included.", "count:rows/s",
        [(rate("weir_consumer_group_read_rows_total", 'group="rules"'), "readings")], drill="weir-rules",
    )),
    (5, stat(
        "4 Workflows: firings taken", "Firings of rules with steps, of which a run was made.", "count:firings/s",
        [(rate("weir_workflows_firings_total", 'outcome="taken"'), "firings")], drill="weir-rules",
    )),
    (4, stat(
        "5 Table: stored", "Rows committed to the table readings.", "count:rows/s",
        [(rate("weir_sink_committed_rows_total", 'table="readings"'), "rows")], drill="weir-storage",
    )),
]

TIMES = [
    (5, curves(
        "1 Received to acknowledged", "From a message's receipt to its PUBACK, at the endpoint and over the bridge.",
        "s", p50_p99("weir_ingest_acknowledge_seconds"), SLOW_ACKNOWLEDGE,
    )),
    (5, curves(
        "2 Group commit", "From taking a group off the queue until it is durable: write and fdatasync, or the way to "
        "the cluster and back.", "s",
        [(f"{quantile(0.5, 'weir_streams_group_commit_seconds')} or {quantile(0.5, 'weir_fluvio_append_seconds')}",
          "p50"),
         (f"{quantile(0.99, 'weir_streams_group_commit_seconds')} or {quantile(0.99, 'weir_fluvio_append_seconds')}",
          "p99")], SLOW_ACKNOWLEDGE, drill="weir-storage",
    )),
    (5, curves(
        "3 A batch through the rules", "From the delivery of a batch until what fired is durable.", "s",
        p50_p99("weir_consumer_group_apply_seconds", 'group="rules"'), drill="weir-rules",
    )),
    (5, curves(
        "4 Reading to first attempt", "From the receipt of a reading to the first attempt at a step that it causes.",
        "s", p50_p99("weir_workflows_start_seconds"), drill="weir-rules",
    )),
    (4, curves(
        "5 Received to stored", "Of the oldest row of each commit. sink.roll_age_seconds is most of it.", "s",
        p50_p99("weir_sink_freshness_seconds", 'table="readings"'), drill="weir-storage",
    )),
]

WAITING = [
    (5, curves(
        "1 Unacknowledged", "Messages received whose acknowledgement waits for their group.", "count:messages",
        [(total("weir_ingest_unacknowledged_messages", by="stage"), "{{stage}}")],
    )),
    (5, curves(
        "2 Queue of the log", "Bytes submitted and not yet durable. At streams.queue_bytes the door reads no further.",
        "bytes",
        [(f"{total('weir_streams_queue_bytes', by='stage')} or {total('weir_fluvio_queue_bytes', by='stage')}",
          "{{stage}}")],
    )),
    (5, curves(
        "3 Lag of the rules", "Age of the oldest record that the rules have not passed, of the worst partition.", "s",
        [(total("weir_consumer_group_lag_seconds", 'group="rules"', "stage", "max"), "{{stage}}")], LAG,
    )),
    (5, curves(
        "4 Steps that wait", "Steps of workflows that wait or run, by target.", "count:steps",
        [(total("weir_workflows_pending", by="target"), "{{target}}")], drill="weir-rules",
    )),
    (4, curves(
        "5 Lag of the table", "Age of the oldest record that the table readings has not taken up.", "s",
        [(total("weir_consumer_group_lag_seconds", 'group="sink/readings"', "stage", "max"), "{{stage}}")], LAG,
    )),
]

READERS = [
    (12, curves(
        "Lag in seconds", "Age of the oldest record that a group has not passed, of its worst partition. 0: at the end. "
        "A stage that is away shows none.", "s",
        [(total("weir_consumer_group_lag_seconds", G, "group, stream", "max"), "{{group}}: {{stream}}")], LAG,
    )),
    (12, curves(
        "Lag in records", "Durable records that a group has not passed, all partitions together. A record holds up to a "
        "group of messages.", "count:records",
        [(total("weir_consumer_group_lag_records", G, "group, stream"), "{{group}}: {{stream}}")],
    )),
    (12, curves(
        "Rows read", "Rows that a group has read, resends included.", "count:rows/s",
        [(rate("weir_consumer_group_read_rows_total", G, "group, stream"), "{{group}}: {{stream}}")],
    )),
    (12, curves(
        "A batch through its effect, p99", "From the delivery of a batch to a group until its effect has it.", "s",
        [(quantile(0.99, "weir_consumer_group_apply_seconds", G, "group"), "{{group}}")],
    )),
]

BALANCE = [
    (6, stat(
        "Readings not accounted for", "Received, less stored, deduplicated and in flight, since the start. 0 at rest; "
        "under load it may differ for a moment. Only where door and table are in one process. Alert: WeirBalance.", "none",
        [(total("weir_balance_difference_readings"), "difference")], UNBALANCED,
    )),
    (9, bars(
        "Readings, by what became of them", "Since the start of the process. Received is the sum of the others.",
        "count:readings", [(total("weir_balance_readings", by="part"), "{{part}}")],
        [(None, BLUE)],
    )),
    (9, curves(
        "Difference and readings in flight", "In flight: in the streams or held in memory for the next commit.",
        "count:readings",
        [(total("weir_balance_readings", 'part="in_flight"'), "in flight"),
         (total("weir_balance_difference_readings"), "difference")], low=None,
    )),
    (6, stat(
        "Messages not accounted for", "At the door: received, less accepted, dead-lettered, rejected and in flight. "
        "Alert: WeirDoorBalance.", "none",
        [(total("weir_balance_difference_messages"), "difference")], UNBALANCED,
    )),
    (9, bars(
        "Messages, by what became of them", "Since the start of the process. Received is the sum of the others. Rejected "
        "ones are too large to be kept.", "count:messages", [(total("weir_balance_messages", by="part"), "{{part}}")], [(None, BLUE)],
    )),
    (9, curves(
        "Seen before, and undecided", "Messages left out because they were stored before: resends. Undecided ones were "
        "kept although too old to tell.", "count:messages/s",
        [(rate("weir_consumer_group_deduplicated_messages_total", G, "group"), "{{group}}: seen before"),
         (rate("weir_consumer_group_undecided_messages_total", G, "group"), "{{group}}: undecided")],
    )),
]

AROUND = [
    (8, curves(
        "Taken from the broker", "Messages that the bridge took from its broker, and acknowledged to it.",
        "count:messages/s",
        [(rate("weir_bridge_messages_total"), "taken"), (rate("weir_bridge_acknowledged_total"), "acknowledged")],
    )),
    (8, curves(
        "Without its broker", "For how long the bridge has had no connection; 0 while it has one. Alert: "
        "WeirBrokerAway, from a minute on.", "s",
        [(total("weir_bridge_outage_seconds", by="stage", how="max"), "{{stage}}")], [(60, RED)],
    )),
    (8, curves(
        "Without the cluster", "1 while a server of the Fluvio cluster does not answer a process.", "none",
        [(total("weir_fluvio_outage", by="stage", how="max"), "{{stage}}")], [(1, RED)],
    )),
]

BOARD = Board(
    "weir-pipeline", "Weir: Pipeline", "The way of a reading from left to right: how many, how long, what waits.",
    [STAGE, GROUP],
    [
        Row("From left to right: how many", 4, HOPS),
        Row("How long it takes", 6, TIMES),
        Row("What waits", 6, WAITING),
        Row("Readers of the streams", 7, READERS),
        Row("Balance: received = stored + deduplicated + in flight", 6, BALANCE),
        Row("Around it: a broker before the door, a cluster for the streams", 6, AROUND),
    ],
)
