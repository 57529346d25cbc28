"""Every reading that fires a rule with steps had each step done: the hook called, the event emitted, the command got.

Where a rule must have fired is found out anew from what devices sent and what was acknowledged or stored. One firing is
named by its reading, its message or its time bucket, as `firing` says, and has one key; one key is of one firing.

Needs `sent`, `messages` and `stored`. Makes `due`, `calls`, `events`: rule, device, firing, and what is told of it.
"""

import json

import duckdb

import tables
from report import CannotJudge
from witnesses import MESSAGE, read

CALLS = {"number": "BIGINT", "received_at": "BIGINT", "hook": "VARCHAR", "rule": "VARCHAR", "device": "VARCHAR", "boot": "BIGINT",
         "seq": "BIGINT", "metric": "VARCHAR", "time": "VARCHAR", "key": "VARCHAR", "status": "BIGINT",
         "done": "BIGINT", "new": "BIGINT"}
OPTIONAL_OF_CALLS = ("rule", "device", "boot", "seq", "metric", "time", "key", "status")
EVENT_COLUMNS = {
    "event_id": "VARCHAR", "rule_id": "VARCHAR", "severity": "VARCHAR", "message": "VARCHAR", "device_id": "VARCHAR",
    "site": "VARCHAR", "time": "TIMESTAMPTZ", "received_at": "TIMESTAMPTZ", "boot": "BIGINT", "seq": "BIGINT",
    "data": "VARCHAR",
}
COMMANDS = {"device": "VARCHAR", "received_at": "BIGINT", "id": "VARCHAR"}
# What of a rule is told as a column of the table `rules`.
RULES = {"id": "VARCHAR", "when": "VARCHAR", "per": "VARCHAR", "cooldown_us": "BIGINT", "hook": "VARCHAR",
         "hook_step": "INTEGER", "ordered": "BOOLEAN", "command_step": "INTEGER", "emit_step": "INTEGER"}
FIRING = "rule, device, firing"


def judge(db, terms, hooks, events, commands, report):
    """`terms` is the file in which the harness tells its rules, `hooks` what was called, `events` the table."""
    rules(db, terms)
    due(db)
    called(db, hooks, report)
    tables.load(db, "emitted", events, EVENT_COLUMNS, report)
    emitted(db)
    report.figures |= dict(zip(("firings", "requests", "events"), db.execute(
        "SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM calls), (SELECT count(*) FROM events)").fetchone()))
    judge_calls(db, report)
    judge_events(db, report)
    if commands is not None:
        read(db, "commands", [commands], COMMANDS, optional=("id",))
        judge_commands(db, report)


def rules(db, terms):
    try:
        told = json.loads(terms.read_text())["rules"]
        rows = [[rule[name] for name in RULES] for rule in told]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise CannotJudge(f"{terms}: {type(problem).__name__}: {problem}") from problem
    columns = ", ".join(f'"{name}" {kind}' for name, kind in RULES.items())
    db.execute(f"CREATE TABLE rules ({columns})")
    db.executemany(f"INSERT INTO rules VALUES ({', '.join('?' * len(RULES))})", rows)


def firing(boot, seq, metric, time):
    """SQL of the name of a firing, in a query that has `rules`; `time` in microseconds."""
    return f"""CASE WHEN cooldown_us IS NOT NULL THEN 'bucket ' || ({time} // cooldown_us)
        WHEN per = 'message' THEN 'message ' || {boot} || '/' || {seq}
        ELSE 'reading ' || {boot} || '/' || {seq} || '/' || {metric} || '/' || {time} END"""


def due(db):
    """Table `due`: each firing that must be. A message that was not acknowledged fires if it is stored, else not."""
    db.execute(f"""CREATE TABLE fit AS SELECT '' AS rule, sent.device, boot, seq, metric, sent.time FROM sent LIMIT 0;
        CREATE TABLE kept AS SELECT device AS device_id, boot, seq, metric, make_timestamptz(time) AS time, value, unit,
            site FROM sent SEMI JOIN (SELECT {MESSAGE} FROM messages WHERE acknowledged
                UNION SELECT device_id, boot, seq FROM stored) AS counted USING ({MESSAGE})""")
    for rule, condition in db.execute('SELECT id, "when" FROM rules').fetchall():
        try:
            # Conditions name the table of readings; here it is what was sent.
            db.execute(f"""INSERT INTO fit WITH stored AS (FROM kept)
                SELECT ?, device_id, boot, seq, metric, epoch_us(time) FROM stored WHERE ({condition})""", [rule])
        except duckdb.Error as problem:
            raise CannotJudge(f"rule {rule}: {problem}") from problem
    db.execute(f"""CREATE TABLE due AS SELECT DISTINCT rule, device, {firing("boot", "seq", "metric", "time")} AS firing,
        hook, emit_step, command_step FROM fit JOIN rules ON rule = id""")


def called(db, hooks, report):
    """Table `calls`: all requests. A key with another step's number than its rule's has no run."""
    read(db, "requested", [hooks], CALLS, optional=OPTIONAL_OF_CALLS)
    db.execute(f"""CREATE TABLE calls AS SELECT requested.*, rules.hook IS NOT DISTINCT FROM requested.hook AS right_hook,
        {firing("boot", "seq", "metric", "epoch_us(try_cast(requested.time AS TIMESTAMPTZ))")} AS firing,
        {run("key", "hook_step")} AS run, coalesce(ordered, false) AS ordered
        FROM requested LEFT JOIN rules ON rule = id""")
    wrong = db.execute("""SELECT hook, key FROM calls GROUP BY ALL
        HAVING sum(new) <> max(done) OR min(number) FILTER (new = 1) <> min(number) FILTER (done = 1)""").fetchall()
    if wrong:
        raise CannotJudge(f"a hook did not count its new keys right: {wrong[0]}")


def emitted(db):
    """Table `events`: the rows of the table of events. Their data are the envelope that a hook would get."""
    metric = "json_extract_string(data, '$.data.metric')"
    db.execute(f"""CREATE TABLE events AS SELECT rule_id AS rule, device_id AS device, event_id AS key,
        {firing("boot", "seq", metric, "epoch_us(time)")} AS firing, {run("event_id", "emit_step")} AS run
        FROM emitted LEFT JOIN rules ON rule_id = id""")


def run(key, step):
    return f"CASE WHEN ends_with({key}, '-' || {step}) THEN left({key}, length({key}) - length('-' || {step})) END"


def judge_calls(db, report):
    report.found_rows(db, "firings_missing", f"""(SELECT {FIRING} FROM due WHERE hook IS NOT NULL
        EXCEPT SELECT {FIRING} FROM calls WHERE done = 1 AND status BETWEEN 200 AND 299)""")
    report.found_rows(db, "firings_invented", f"""(SELECT DISTINCT rule, device, coalesce(firing, key) AS firing
        FROM calls ANTI JOIN due USING ({FIRING}) UNION
        SELECT {FIRING} FROM calls WHERE run IS NULL OR NOT right_hook)""")
    doubled(db, "firings_doubled", "SELECT * FROM calls WHERE done = 1 AND firing IS NOT NULL", report)
    report.found_rows(db, "firings_reordered", """(WITH first AS (SELECT rule, device, boot, seq, number FROM calls
            WHERE new = 1 AND ordered),
        reached AS (SELECT *, max(seq) OVER (PARTITION BY rule, device, boot ORDER BY number
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM first)
        SELECT rule, device, boot, seq, before AS behind FROM reached WHERE before > seq)""")


def doubled(db, kind, rows, report):
    """A firing with several keys, and a key with several firings."""
    report.found_rows(db, kind, f"""(SELECT {FIRING}, count(DISTINCT key) AS keys FROM ({rows}) GROUP BY ALL
        HAVING count(DISTINCT key) > 1)""", count="sum(keys - 1)")
    report.found_rows(db, kind, f"""(SELECT key, count(DISTINCT ({FIRING})) AS firings FROM ({rows})
        GROUP BY key HAVING count(DISTINCT ({FIRING})) > 1)""", count="sum(firings - 1)")


def judge_events(db, report):
    report.found_rows(db, "events_missing", f"""(SELECT {FIRING} FROM due WHERE emit_step IS NOT NULL
        EXCEPT SELECT {FIRING} FROM events)""")
    report.found_rows(db, "events_invented", f"""(SELECT DISTINCT rule, device, coalesce(firing, key) AS firing
        FROM events ANTI JOIN due USING ({FIRING}) UNION SELECT {FIRING} FROM events WHERE run IS NULL)""")
    report.found_rows(db, "events_doubled", f"""(SELECT {FIRING}, key, count(*) AS times FROM events GROUP BY ALL
        HAVING count(*) > 1)""", count="sum(times - 1)")
    doubled(db, "events_doubled", "SELECT * FROM events WHERE firing IS NOT NULL", report)
    # One run has one id, in each of its steps. Where a firing has several keys that is told already.
    report.found_rows(db, "keys_differ", f"""(WITH
            called AS (SELECT {FIRING}, min(run) AS run FROM calls GROUP BY ALL HAVING count(DISTINCT run) = 1),
            noted AS (SELECT {FIRING}, min(run) AS run FROM events GROUP BY ALL HAVING count(DISTINCT run) = 1)
        SELECT {FIRING}, called.run AS called, noted.run AS emitted FROM called JOIN noted USING ({FIRING})
        WHERE called.run <> noted.run)""")


def judge_commands(db, report):
    """The device got the command of each run: at least once, under the run's key."""
    report.found_rows(db, "commands_missing", f"""(SELECT {FIRING} FROM due LEFT JOIN events USING ({FIRING})
        WHERE command_step IS NOT NULL AND NOT EXISTS (SELECT 1 FROM commands
            WHERE commands.device = due.device AND commands.id = run || '-' || command_step))""")
