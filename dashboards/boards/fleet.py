"""Fleet: what devices measure, who is silent, and what is refused."""

from boards.layout import STAGE, Board, Row, variable
from boards.panels import BLUE, ORANGE, RED, S, bars, curves, rate, stat, table, total

SITE = variable("site", "Site", f"label_values(weir_fleet_readings_total{{{S}}}, site)")
# Those that have numbers.
METRIC = variable("metric", "Metric", f'label_values(weir_fleet_value_mean{{{S},site=~"$site"}}, metric)')
M = 'metric=~"$metric",site=~"$site"'
SILENCE = f"time() - max by (metric, site) (weir_fleet_last_reading_timestamp_seconds{{{S},{M}}})"

NOW = [
    (4, stat(
        "Active devices", "Devices with a reading in the last five minutes.", "none",
        [(total("weir_fleet_devices", 'state="active"'), "active")],
    )),
    (4, stat(
        "Silent devices", "Devices seen since the start, with no reading for five minutes.", "none",
        [(total("weir_fleet_devices", 'state="silent"'), "silent")], [(1, ORANGE)],
    )),
    (4, stat(
        "Connections", "MQTT connections that the endpoint serves.", "none",
        [(total("weir_ingest_connections"), "connections")], drill="weir-machine",
    )),
    (4, stat(
        "Readings", "New readings, resends left out.", "count:readings/s",
        [(rate("weir_fleet_readings_total", M), "readings")], drill="weir-pipeline",
    )),
    (4, stat(
        "Metrics and sites", "Pairs of a metric and a site that are counted one by one. At most 256; further ones are "
        "counted under `other`.", "none", [(f"count(weir_fleet_readings_total{{{S}}})", "pairs")], [(240, ORANGE)],
    )),
    (4, stat(
        "Counted under other", "Readings of metrics and sites beyond the 256 pairs, or with names unfit for a label.",
        "count:readings/s", [(rate("weir_fleet_overflow_total"), "readings")], [(0.001, ORANGE)],
    )),
]

RATES = [
    (12, curves(
        "Readings by site", "New readings of the chosen metrics.", "count:readings/s",
        [(rate("weir_fleet_readings_total", M, "site"), "{{site}}")],
    )),
    (12, curves(
        "Readings by metric", "New readings of the chosen sites.", "count:readings/s",
        [(rate("weir_fleet_readings_total", M, "metric"), "{{metric}}")],
    )),
]


def values():
    """One panel for each chosen metric: each has a unit of its own."""
    one = 'metric=~"$metric",site=~"$site"'
    panel = curves(
        "$metric", "Mean by site, and the least and greatest of all chosen sites, over the last full minute. In the "
        "unit that the devices send.", "none",
        [(total("weir_fleet_value_mean", one, "site", "avg"), "{{site}}"),
         (total("weir_fleet_value_min", one, how="min"), "least"),
         (total("weir_fleet_value_max", one, how="max"), "greatest")], low=None,
    )
    return [(24, {**panel, "repeat": "metric", "repeatDirection": "h", "maxPerRow": 3})]


LATEST = [
    (16, table(
        "Metrics by site", "The last full minute, and how long ago the last reading came.", "none",
        [(total("weir_fleet_value_min", M, "metric, site", "min"), "least"),
         (total("weir_fleet_value_mean", M, "metric, site", "avg"), "mean"),
         (total("weir_fleet_value_max", M, "metric, site", "max"), "greatest"),
         (rate("weir_fleet_readings_total", M, "metric, site"), "readings/s"),
         (SILENCE, "silent for")], {"silent for": "s"},
    )),
    (8, bars(
        "Longest silent", "The ten metrics and sites whose last reading is the longest ago. Alert: WeirSiteSilent.",
        "s", [(f"topk(10, {SILENCE})", "{{site}}: {{metric}}")], [(300, ORANGE), (900, RED)],
    )),
]

SILENT = [
    (12, curves(
        "Devices", "Active: a reading in the last five minutes. Alert: WeirDevicesSilent.", "count:devices",
        [(total("weir_fleet_devices", by="state"), "{{state}}")], drill="weir-pipeline", stack=True,
    )),
    (12, curves(
        "Connections accepted", "By protocol version. Many a second with few being served: devices that come and go.",
        "count:connections/s", [(rate("weir_ingest_connections_total", by="protocol"), "MQTT {{protocol}}")],
    )),
]

REFUSED = [
    (12, curves(
        "Refused, by reason", "Messages that were acknowledged and went to the dead letters. Alert: WeirDeadLetters. "
        "weir dlq list shows them.", "count:messages/s",
        [(f"topk(8, {rate('weir_ingest_rejected_messages_total', by='reason')})", "{{reason}}")], [(1, RED)],
    )),
    (6, bars(
        "Refused in this time, by reason", "Over the time shown.", "count:messages",
        [(f"topk(8, sum by (reason) (increase(weir_ingest_rejected_messages_total{{{S}}}[$__range]))) > 0",
          "{{reason}}")],
        [(None, BLUE), (1, ORANGE)],
    )),
    (6, stat(
        "Share refused", "Of all messages.", "percentunit",
        [(f"{rate('weir_ingest_rejected_messages_total')} / {rate('weir_ingest_received_messages_total')}", "refused")],
        [(0.001, ORANGE), (0.01, RED)],
    )),
]

BOTH_WAYS = [
    (8, curves(
        "Commands to devices", "Attempts of workflows to send a command, by outcome.", "count:attempts/s",
        [(rate("weir_ingest_commands_total", by="outcome"), "{{outcome}}")], drill="weir-rules",
    )),
    (8, curves(
        "Fields not kept", "Fields of payloads that were understood and are not in the table.", "count:fields/s",
        [(rate("weir_ingest_ignored_fields_total"), "fields")],
    )),
    (8, curves(
        "Live readings", "Subscribers to weir/live/#, and readings a second that were too many for one.", "none",
        [(total("weir_ingest_live_subscribers"), "subscribers"),
         (rate("weir_ingest_live_dropped_total"), "dropped a second")],
    )),
]

BOARD = Board(
    "weir-fleet", "Weir: Fleet", "Values by site and metric, silent devices, and what was refused.",
    [STAGE, SITE, METRIC],
    [
        Row("Now", 4, NOW),
        Row("How much", 7, RATES),
        Row("Values", 7, values()),
        Row("By site and metric", 9, LATEST),
        Row("Who is silent", 7, SILENT),
        Row("What was refused", 7, REFUSED),
        Row("To the devices, and beside the table", 6, BOTH_WAYS),
    ],
)
