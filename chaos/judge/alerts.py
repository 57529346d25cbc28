"""Every stored reading that matches a rule has exactly one alert of that rule, and it says what the reading says.

Needs `stored`, the readings of the fleet, and `alerts`, the rows of that table.
"""

import duckdb

from readings import reordered
from report import CannotJudge

# What an alert takes over from its reading, besides the key.
TAKEN = ("time", "value", "value_bool", "value_text", "unit", "site", "received_at")


def judge(db, rules, key, report, ordered):
    """`key` are the columns that tell a reading of the fleet from all others."""
    key = "rule_id, " + key.replace("device", "device_id", 1)
    report.figures["alerts"] = db.execute("SELECT count(*) FROM alerts").fetchone()[0]
    db.execute("DELETE FROM alerts WHERE device_id NOT IN (SELECT DISTINCT device FROM messages)")
    matching(db, rules)
    shown = key.replace("time", "epoch_us(time) AS time").replace("device_id", "device_id AS device")
    # A reading that is there twice is counted as such; it is no reason for two alerts.
    report.found_rows(db, "alerts_missing",
                      f"(SELECT DISTINCT {shown} FROM matching ANTI JOIN alerts USING ({key}))")
    report.found_rows(db, "alerts_doubled", f"""(SELECT {shown}, count(*) AS times FROM alerts
        GROUP BY {key} HAVING count(*) > 1)""", count="sum(times - 1)")
    report.found_rows(db, "alerts_invented", f"(SELECT {shown} FROM alerts ANTI JOIN matching USING ({key}))")
    altered(db, key, shown, report)
    if ordered:
        # The table does not say which record of the stream an alert came from, and its received_at is its reading's.
        # What is left to judge of the order of alerts is the order of commits.
        reordered(db, "alerts", ["commit"], report)


def matching(db, rules):
    """Table `matching`: the stored readings that fit a rule, once for each such rule."""
    db.execute("CREATE TABLE matching AS SELECT '' AS rule_id, * FROM stored LIMIT 0")
    for rule_id, condition in rules:
        try:
            db.execute(f"INSERT INTO matching SELECT ?, * FROM stored WHERE ({condition})", [rule_id])
        except duckdb.Error as problem:
            raise CannotJudge(f"rule {rule_id}: {problem}") from problem


def altered(db, key, shown, report):
    same = " AND ".join(f"{bits('matching', column)} IS NOT DISTINCT FROM {bits('alerts', column)}"
                        for column in (*key.split(", "), *TAKEN))
    report.found_rows(db, "alerts_altered", f"""(SELECT {shown} FROM alerts SEMI JOIN matching USING ({key})
        WHERE NOT EXISTS (SELECT 1 FROM matching WHERE {same}))""")


def bits(table, column):
    # As text -0.0 differs from 0.0, and every other number from each of its neighbours.
    return f"{table}.{column}::VARCHAR" if column == "value" else f"{table}.{column}"
