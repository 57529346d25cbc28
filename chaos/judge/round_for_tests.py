"""A small true round, made by DuckDB, to plant faults in.

3 devices, 2 boots of each, 12 messages of each boot, 3 readings of each message; commits 1 to 3 hold four messages of
each boot, in 2 partitions and, by boot, 2 hours. Tests change the rows by SQL before they are written to files, or the
files afterwards.
"""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote

import duckdb

import judge as subject
from report import CONTRADICTIONS, FAULTS

START = 1_790_000_000_000_000
# The hour that the messages of boot 2 are in.
LATER_HOUR = (START // 3_600_000_000 + 1) * 3_600_000_000
RULES = {"hot": "metric = 'temperature' AND value > 80", "very-hot": "metric = 'temperature' AND value > 90"}

TRUTH = f"""
    CREATE TABLE sent AS
        SELECT device, boot, seq, metric,
            CASE boot WHEN 1 THEN {START} ELSE {LATER_HOUR} END + seq * 1000000 + 122 AS time,
            (CASE metric WHEN 'temperature' THEN CASE seq WHEN 5 THEN 85.5 WHEN 10 THEN 95.25 ELSE 20.1 + seq END
                WHEN 'humidity' THEN -seq / 7.0 ELSE 1e308 / seq END)::DOUBLE AS value,
            CASE metric WHEN 'temperature' THEN 'Cel' WHEN 'humidity' THEN '%RH' END AS unit,
            CASE device WHEN 'a,"b' THEN NULL ELSE 'hall-a' END AS site
        FROM (SELECT unnest(['pump-1', 'a,"b', '0042']) AS device), (SELECT unnest([1, 2])::BIGINT AS boot),
            range(1, 13) AS numbers(seq), (SELECT unnest(['temperature', 'humidity', 'battery']) AS metric);
    UPDATE sent SET value = '-0.0' WHERE seq = 1 AND metric = 'humidity';
    UPDATE sent SET value = 5e-324 WHERE seq = 2 AND metric = 'battery';
    CREATE TABLE ledger AS SELECT device, boot, seq, count(*) AS readings, max(time) + 7000 AS acknowledged_at
        FROM sent GROUP BY ALL;
    CREATE TABLE pubacks AS SELECT device, boot, seq, seq * 1000 AS passed_at FROM ledger;
    CREATE TABLE stored AS
        SELECT device AS device_id, metric, make_timestamptz(time) AS time, value, NULL::BOOLEAN AS value_bool,
            NULL::VARCHAR AS value_text, unit, site, boot, seq, make_timestamptz(time + 3000) AS received_at,
            1 + (seq - 1) // 4 AS commit
        FROM sent;
    CREATE TABLE alerts AS SELECT 'hot' AS rule_id, * FROM stored WHERE {RULES["hot"]}
        UNION ALL SELECT 'very-hot', * FROM stored WHERE {RULES["very-hot"]};
"""


class RoundTest(unittest.TestCase):
    def setUp(self):
        self.db = duckdb.connect()
        self.addCleanup(self.db.close)
        self.sql("SET TimeZone = 'UTC'")
        self.sql(TRUTH)

    def sql(self, statement):
        return self.db.execute(statement)

    def repeat_a_metric(self):
        """Message 7 of each boot has a second humidity, a microsecond after the first: at an odd time."""
        later = "WHERE seq = 7 AND metric = 'humidity'"
        self.sql(f"INSERT INTO sent SELECT * REPLACE (time + 1 AS time) FROM sent {later}")
        self.sql(f"INSERT INTO stored SELECT * REPLACE (time + INTERVAL 1 MICROSECOND AS time) FROM stored {later}")
        self.sql("UPDATE ledger SET readings = 4 WHERE seq = 7")

    def kept(self, *options, **how):
        report = self.verdict(*options, **how)
        self.assertEqual((report["verdict"], faults(report)), ("kept", {}), report.get("error", report["examples"]))
        return report

    def broken(self, *options, tamper=None, pubacks=True, rules=RULES, **expected):
        """Asserts that exactly the faults `expected` are reported, each with examples."""
        report = self.verdict(*options, tamper=tamper, pubacks=pubacks, rules=rules)
        self.assertEqual((report["verdict"], faults(report)), ("broken", expected), report.get("error", report["examples"]))
        for kind, count in expected.items():
            self.assertTrue(1 <= len(report["examples"][kind]) <= min(count, 10), report["examples"][kind])
        return report

    def refused(self, said, **how):
        report = self.verdict(**how)
        self.assertEqual(report["verdict"], "cannot judge")
        self.assertIn(said, report["error"])
        return report

    def verdict(self, *options, tamper=None, alerts=True, pubacks=True, rules=RULES, fleets=1):
        """Writes the round, lets `tamper` change the folder of the table of readings, and judges."""
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            arguments = ["--json", *options]
            for table in ("sent", "ledger", *["pubacks"] * pubacks):
                for path in self.write_lines(folder, table, fleets):
                    arguments += [f"--{table}", str(path)]
            for table in ("stored", *["alerts"] * alerts):
                path = folder / {"stored": "readings"}.get(table, table)
                self.write_table(table, path)
                arguments += [f"--{path.name}", str(path)]
            for name, condition in rules.items() if alerts else ():
                arguments += ["--rule", f"{name}={condition}"]
            arguments += self.more(folder)
            if tamper is not None:
                tamper(folder / "readings")
            return self.run_judge(arguments)

    def more(self, folder):
        """Writes more into the round; the options that tell the judge of it."""
        return []

    def run_judge(self, arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = subject.main(arguments)
        report = json.loads(out.getvalue().splitlines()[-1])
        self.assertEqual(code, ["kept", "broken", "cannot judge"].index(report["verdict"]))
        return report

    def assert_usage_error(self, arguments):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as stop:
            subject.main(["--sent", "s", "--ledger", "l", "--readings", "r", *arguments])
        self.assertEqual(stop.exception.code, 2)
        self.assertIn("error:", said.getvalue())

    def write_lines(self, folder, table, fleets):
        paths = [folder / f"{table}{'' if fleet == 0 else fleet}.csv" for fleet in range(fleets)]
        for fleet, path in enumerate(paths):
            self.sql(f"""COPY (SELECT * FROM {table} WHERE hash(device) % {fleets} = {fleet}
                ORDER BY boot, seq) TO '{path}' (HEADER)""")
        return paths

    def write_table(self, table, folder):
        """Data files and commits; a file for each commit, partition and hour."""
        self.sql(f"""CREATE OR REPLACE TEMP VIEW parts AS SELECT *, (device_id = 'pump-1')::INTEGER AS part,
            strftime(time, 'date=%Y-%m-%d/hour=%H') AS hour FROM {table}""")
        files = self.sql("SELECT DISTINCT commit, part, hour FROM parts ORDER BY ALL").fetchall()
        commits = {version: [{"commitInfo": {"operation": "WRITE"}}]
                   for version in range(max((commit for commit, _, _ in files), default=0) + 1)}
        for commit, part, hour in files:
            name = f"{hour}/part-{part:05}-{commit * 100:020}-{commit * 100 + 99:020}.parquet"
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.sql(f"""COPY (SELECT * EXCLUDE (commit, part, hour) FROM parts WHERE commit = {commit}
                AND part = {part} AND hour = '{hour}' ORDER BY device_id, time) TO '{path}' (COMPRESSION zstd)""")
            commits[commit].append({"add": {"path": quote(name, safe="/"), "size": path.stat().st_size}})
        (folder / "_delta_log").mkdir(parents=True)
        for version, actions in commits.items():
            commit_path(folder, version).write_text("".join(json.dumps(action) + "\n" for action in actions))


def faults(report):
    return {kind: report[kind] for kind in FAULTS + CONTRADICTIONS if report[kind]}


def commit_path(folder, version):
    return folder / "_delta_log" / f"{version:020}.json"


def append_commit(folder, action):
    commit_path(folder, len(list((folder / "_delta_log").glob("*.json")))).write_text(json.dumps(action) + "\n")


def data_file(folder):
    """The file of commit 1 with pump-1's first boot: 12 readings, none of which has an alert."""
    return next(folder.glob(f"date=*/hour=*/part-00001-{100:020}-*.parquet"))


def write_checkpoint(folder, version, where):
    """A checkpoint of the files on disk of which `where`, SQL on `name`, is true."""
    names = [path.relative_to(folder).as_posix() for path in folder.glob("date=*/hour=*/*.parquet")]
    path = folder / "_delta_log" / f"{version:020}.checkpoint.parquet"
    duckdb.connect().execute(f"""COPY (SELECT {{'path': name}} AS add FROM (SELECT unnest({names!r}) AS name)
        WHERE {where}) TO '{path}' (FORMAT parquet)""")
