"""Machine: what the processes use of it. Of the disk it shows what Weir tells; whole disks are node_exporter's."""

from boards.layout import STAGE, Board, Row
from boards.panels import GREEN, ORANGE, RED, S, bars, curves, rate, stat, table

# What Prometheus says of a process, and what its own library says, have the same labels.
J = f'job="weir",{S}'


def process(name, how="sum"):
    return f"{how} by (stage) (process_{name}{{{J}}})"


CPU = f"sum by (stage) (rate(process_cpu_seconds_total{{{J}}}[$__rate_interval]))"

NOW = [
    (6, stat(
        "Processes", "Whether each answers. Alert: WeirStageAway.", "bool:answers/away",
        [(f"max by (stage) (up{{{J}}})", "{{stage}}")], [(None, RED), (1, GREEN)], drill="weir-pipeline",
    )),
    (6, stat(
        "Running for", "Since the start of each process. Alert: WeirRestarts.", "dtdurations",
        [(f"time() - {process('start_time_seconds', 'max')}", "{{stage}}")],
    )),
    (6, stat("CPU", "Cores in use, all processes together.", "suffix: cores", [(f"sum({CPU})", "cores")])),
    (6, stat("Memory", "Resident, all processes together.", "bytes",
             [(f"sum(process_resident_memory_bytes{{{J}}})", "resident")])),
]

USED = [
    (12, curves("CPU, by process", "Cores in use.", "suffix: cores", [(CPU, "{{stage}}")])),
    (12, curves(
        "CPU seconds for a million readings", "Of all processes together, by the readings acknowledged. Means nothing "
        "while few come.", "suffix: s",
        [(f"1e6 * sum({CPU}) / {rate('weir_ingest_acknowledged_readings_total')}", "CPU seconds")],
        drill="weir-pipeline",
    )),
    (12, curves(
        "Memory, by process", "Resident. Bounded by the options that docs/scaling.md lists.", "bytes",
        [(process("resident_memory_bytes"), "{{stage}}")],
    )),
    (12, curves("Address space, by process", "The log is mapped when it is read, so this is larger than the memory.",
                "bytes", [(process("virtual_memory_bytes"), "{{stage}}")])),
    (12, curves(
        "Descriptors", "Files and connections open, and how many may be. Alert: WeirDescriptors.", "none",
        [(process("open_fds"), "{{stage}}: open"), (process("max_fds"), "{{stage}}: limit")],
    )),
    (12, curves("Threads, by process", "Workers of the endpoint, writer, consumers, their pool.", "none",
                [(process("threads"), "{{stage}}")])),
]

DISK = [
    (8, curves(
        "Written to disk", "By the log, and by commits of tables. The outbox and the positions come on top.", "Bps",
        [(rate("weir_streams_appended_bytes_total"), "log"),
         (rate("weir_sink_committed_bytes_total", by="table"), "{{table}}")], stack=True, drill="weir-storage",
    )),
    (8, bars(
        "Written in this time", "To the tables and to the log, over the time shown.", "bytes",
        [(f"sum by (table) (increase(weir_sink_committed_bytes_total{{{S}}}[$__range]))", "{{table}}"),
         (f"sum(increase(weir_streams_appended_bytes_total{{{S}}}[$__range]))", "log")], [(None, "blue")],
    )),
    (8, curves(
        "Log, of its quota", "Acknowledgements stop at 100 %. Alerts: WeirStreamsFillUp, WeirStreamsFull.",
        "percentunit",
        [(f"max by (stage) (weir_streams_log_bytes{{{S}}} / weir_streams_log_quota_bytes{{{S}}})", "{{stage}}")],
        [(0.5, ORANGE), (0.8, RED)], drill="weir-storage",
    )),
]

WATCHING = [
    (8, curves(
        "Requests to the admin port", "By route and status.", "count:requests/s",
        [(rate("weir_http_requests_total", by="route, code"), "{{route}} {{code}}")],
    )),
    (8, curves(
        "Series, by process", "What Prometheus keeps of each. Bounded: docs/metrics.md says by what.", "none",
        [(f"sum by (stage) (scrape_samples_scraped{{{J}}})", "{{stage}}")],
    )),
    (8, curves(
        "Time of a scrape", "Until a process has told all its metrics.", "s",
        [(f"max by (stage) (scrape_duration_seconds{{{J}}})", "{{stage}}")], [(1, ORANGE)],
    )),
    (12, table(
        "Versions", "What runs where.", "none", [(f"max by (stage, version) (weir_build_info{{{S}}})", "processes")],
    )),
    (12, curves(
        "Starts", "Starts of each process within a quarter of an hour, but the first. Alert: WeirRestarts.", "none",
        [(f"max by (stage) (changes(process_start_time_seconds{{{J}}}[15m]))", "{{stage}}")], [(3, RED)],
    )),
]

BOARD = Board(
    "weir-machine", "Weir: Machine", "CPU, memory, descriptors and disk of the processes, and what watching them costs.",
    [STAGE],
    [Row("Now", 4, NOW), Row("Processes", 7, USED), Row("Disk, as far as Weir tells", 7, DISK),
     Row("Being watched", 7, WATCHING)],
)
