"""Judges one round of the harness: is every reading that was acknowledged in the tables, once, as it was sent?

    judge.py --sent sent.csv --ledger ledger.csv [--pubacks pubacks.csv | --witness witness.csv] --readings data/tables/readings
             [--alerts data/tables/alerts --rule ID='SQL boolean' ...] [--unordered | --no-clock] [--json]
             [--workflows workflows.json --hooks hooks.csv --events data/tables/NAME [--commands commands.csv]]

Uses none of Weir's code: DuckDB reads what the devices wrote down, and the Parquet files; `delta_log` reads the
commits. The last line of stdout is one JSON object: `verdict`, a count for each kind of fault (null if that was not
judged), the figures, and up to ten examples of each fault that was found. `--json` prints nothing else.

Not judged: what readers may skip by, statistics and bloom filters inside the files. Every row is read without them.

Exit code: 0 kept, 1 broken, 2 cannot judge (an input is missing or ill-formed, or the witnesses contradict each
other; then `error` says what).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

import duckdb

import alerts
import brokers
import readings
import tables
import witnesses
import workflows
from report import CannotJudge, Report

KEPT, BROKEN, CANNOT_JUDGE = 0, 1, 2
# A round may be judged while the next one runs: leave most of the machine to it. What is more goes to disk.
MEMORY_LIMIT = "3GB"
THREADS = 2


def judge(arguments, report):
    """Fills `report`; raises `CannotJudge`."""
    with tempfile.TemporaryDirectory(prefix="judge-") as spill:
        db = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "threads": THREADS, "temp_directory": spill})
        try:
            db.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
            witnesses.load(db, arguments.sent, arguments.ledger, arguments.pubacks, arguments.witness, report)
            tables.load(db, "stored", arguments.readings, tables.READING_COLUMNS, report)
            if arguments.witness:
                brokers.set_losses_aside(db, report)
            ordered = not arguments.unordered
            key = readings.judge(db, report, ordered=ordered, by_clock=not arguments.no_clock)
            if arguments.alerts is not None:
                tables.load(db, "alerts", arguments.alerts, tables.ALERT_COLUMNS, report)
                alerts.judge(db, arguments.rule, key, report, ordered=ordered)
            if arguments.workflows is not None:
                workflows.judge(db, arguments.workflows, arguments.hooks, arguments.events, arguments.commands, report)
        finally:
            db.close()


def main(argv):
    arguments = parse(argv)
    report = Report()
    error = None
    try:
        judge(arguments, report)
    except CannotJudge as problem:
        error = str(problem)
    except (duckdb.Error, OSError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    if error is not None:
        verdict, code = "cannot judge", CANNOT_JUDGE
        print(f"cannot judge: {error}", file=sys.stderr)
    elif report.faults():
        verdict, code = "broken", BROKEN
    else:
        verdict, code = "kept", KEPT
    if not arguments.json:
        print(report.text(verdict))
    print(json.dumps(report.as_dict(verdict, error)), flush=True)
    return code


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    several = {"type": Path, "action": "append", "metavar": "FILE"}
    parser.add_argument("--sent", required=True, **several, help="everything sent; may be given several times")
    parser.add_argument("--ledger", required=True, **several, help="what the devices saw acknowledged; likewise")
    parser.add_argument("--pubacks", default=[], **several, help="PUBACKs that passed the proxy; likewise")
    parser.add_argument("--witness", default=[], **several,
                        help="what a broker delivered to another subscriber, instead of PUBACKs; likewise")
    parser.add_argument("--readings", required=True, type=Path, metavar="DIR", help="table of readings")
    parser.add_argument("--alerts", type=Path, metavar="DIR", help="table of alerts")
    parser.add_argument("--rule", default=[], type=rule, action="append", metavar="ID=SQL",
                        help="a rule in force, as a SQL condition on a row of readings; likewise")
    parser.add_argument("--workflows", type=Path, metavar="FILE", help="rules with steps, as the harness tells them")
    parser.add_argument("--hooks", type=Path, metavar="FILE", help="requests that rules made")
    parser.add_argument("--events", type=Path, metavar="DIR", help="table of what rules emitted")
    parser.add_argument("--commands", type=Path, metavar="FILE", help="commands that devices got")
    parser.add_argument("--unordered", action="store_true", help="devices sent out of order: do not judge order")
    parser.add_argument("--no-clock", action="store_true", help="the clock jumped: do not judge order by received_at")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args(argv)
    if arguments.witness and arguments.pubacks:
        parser.error("--witness with --pubacks: behind a broker no proxy sees what Weir acknowledges")
    if arguments.rule and arguments.alerts is None:
        parser.error("--rule without --alerts")
    if len({arguments.workflows is None, arguments.hooks is None, arguments.events is None}) > 1:
        parser.error("--workflows, --hooks and --events belong together")
    if arguments.commands is not None and arguments.workflows is None:
        parser.error("--commands without --workflows")
    if len({name for name, _ in arguments.rule}) < len(arguments.rule):
        parser.error("--rule: the same id twice")
    return arguments


def rule(text):
    name, separator, condition = text.partition("=")
    if not (name and separator and condition.strip()):
        raise argparse.ArgumentTypeError(f"`{text}`: expected ID=SQL")
    return name, condition


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
