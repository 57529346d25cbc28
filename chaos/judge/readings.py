"""Lost, duplicated, altered, invented and reordered readings.

Needs the tables of `witnesses`, and `stored`: the rows of the table of readings.
"""

from report import CannotJudge
from witnesses import MESSAGE


def judge(db, report, ordered, by_clock):
    set_others_aside(db, report)
    key = key_of_sent(db)
    compare(db, key)
    pair_changed_metrics(db)
    lost(db, report)
    altered(db, report)
    duplicated(db, key, report)
    if ordered:
        reordered(db, "stored", ["commit", "received_at"] if by_clock else ["commit"], report)
    return key


def set_others_aside(db, report):
    """The table may hold readings of devices without a ledger. Nothing is known about those."""
    report.figures["readings_stored"] = db.execute("SELECT count(*) FROM stored").fetchone()[0]
    deleted = db.execute("DELETE FROM stored WHERE device_id NOT IN (SELECT DISTINCT device FROM messages)").fetchone()
    report.figures["readings_of_others"] = deleted[0]


def key_of_sent(db):
    """The columns that tell a reading from every other one sent; with the time, if a message repeats a metric."""
    for key in ("device, boot, seq, metric", "device, boot, seq, metric, time"):
        repeated = db.execute(f"SELECT {key} FROM sent GROUP BY {key} HAVING count(*) > 1 LIMIT 1").fetchone()
        if repeated is None:
            return key
    raise CannotJudge(f"a reading was sent twice in one message, or is told twice: {repeated}")


def compare(db, key):
    """Table `odd`: what was sent and not stored, stored and not sent, or stored otherwise than sent. Mostly empty.

    A number is compared by its bits: DuckDB takes -0.0 for 0.0. Not the bits of NaN, which no text can carry.
    """
    same_time = "AND epoch_us(stored.time) = sent.time" if "time" in key else ""
    db.execute(f"""CREATE TABLE odd AS SELECT * FROM (
        SELECT coalesce(sent.device, stored.device_id) AS device, coalesce(sent.boot, stored.boot) AS boot,
            coalesce(sent.seq, stored.seq) AS seq, coalesce(sent.metric, stored.metric) AS metric,
            stored.device_id IS NULL AS missing, sent.device IS NULL AS unknown,
            concat_ws(', ',
                CASE WHEN epoch_us(stored.time) IS DISTINCT FROM sent.time
                    THEN 'time ' || sent.time || ' is ' || coalesce(epoch_us(stored.time)::VARCHAR, 'null') END,
                CASE WHEN stored.value IS DISTINCT FROM sent.value
                    OR (sent.value = 0 AND signbit(stored.value) <> signbit(sent.value))
                    OR stored.value_bool IS NOT NULL OR stored.value_text IS NOT NULL
                    THEN 'value ' || sent.value || ' is '
                        || coalesce(stored.value::VARCHAR, stored.value_bool::VARCHAR, stored.value_text, 'null') END,
                CASE WHEN stored.unit IS DISTINCT FROM sent.unit
                    THEN 'unit ' || coalesce(sent.unit, 'null') || ' is ' || coalesce(stored.unit, 'null') END,
                CASE WHEN stored.site IS DISTINCT FROM sent.site
                    THEN 'site ' || coalesce(sent.site, 'null') || ' is ' || coalesce(stored.site, 'null') END
            ) AS difference
        FROM sent FULL JOIN stored ON sent.device = stored.device_id AND sent.boot = stored.boot
            AND sent.seq = stored.seq AND sent.metric = stored.metric {same_time}
        ) WHERE missing OR unknown OR difference <> ''""")


def pair_changed_metrics(db):
    """Table `unmatched`: what of `odd` has no counterpart.

    In a message that misses a reading and has one that was never sent, the one became the other. Such readings have
    the metric of each other in `partner`; they are altered, neither lost nor invented.
    """
    db.execute(f"""CREATE TABLE unmatched AS WITH numbered AS (
            SELECT {MESSAGE}, metric, missing,
                row_number() OVER (PARTITION BY {MESSAGE}, missing ORDER BY metric) AS number
            FROM odd WHERE missing OR unknown)
        SELECT a.*, b.metric AS partner FROM numbered AS a LEFT JOIN numbered AS b
        ON a.device = b.device AND a.boot = b.boot AND a.seq = b.seq AND a.number = b.number
            AND a.missing <> b.missing""")


def lost(db, report):
    """A message is stored whole or not at all: what a part of one lacks is lost, even if it was not acknowledged."""
    absent = f"(SELECT {MESSAGE}, count(*) AS readings FROM unmatched WHERE missing GROUP BY ALL)"
    report.found_rows(db, "lost", f"""(
        SELECT {MESSAGE}, metric,
            CASE WHEN acknowledged THEN 'acknowledged' ELSE 'the rest of its message is stored' END AS why
        FROM unmatched JOIN messages USING ({MESSAGE}) JOIN {absent} AS absent USING ({MESSAGE})
        WHERE missing AND partner IS NULL AND (acknowledged OR absent.readings < messages.readings
            OR EXISTS (SELECT 1 FROM unmatched AS other WHERE other.partner IS NOT NULL
                AND other.device = unmatched.device AND other.boot = unmatched.boot AND other.seq = unmatched.seq)))""")
    report.figures["messages_judged"] = db.execute(f"""SELECT count(*) FROM messages LEFT JOIN {absent} AS absent
        USING ({MESSAGE})
        WHERE acknowledged OR absent.readings IS NULL OR absent.readings < messages.readings""").fetchone()[0]


def altered(db, report):
    report.found_rows(db, "altered",
                      f"(SELECT {MESSAGE}, metric, difference FROM odd WHERE NOT missing AND NOT unknown)")
    report.found_rows(db, "altered", f"""(SELECT {MESSAGE}, partner AS metric, 'metric is ' || metric AS difference
        FROM unmatched WHERE NOT missing AND partner IS NOT NULL)""")
    report.found_rows(db, "invented",
                      f"(SELECT {MESSAGE}, metric FROM unmatched WHERE NOT missing AND partner IS NULL)")


def duplicated(db, key, report):
    stored_key = key.replace("device", "device_id", 1)
    shown = stored_key.replace("time", "epoch_us(time) AS time").replace("device_id", "device_id AS device")
    report.found_rows(db, "duplicated", f"""(SELECT {shown}, count(*) AS times,
        list(DISTINCT commit ORDER BY commit) AS commits FROM stored WHERE boot IS NOT NULL AND seq IS NOT NULL
        GROUP BY {stored_key} HAVING count(*) > 1)""", count="sum(times - 1)")


def reordered(db, table, columns, report):
    """Messages that `table` took behind a later one of their device and boot, by any of `columns`; ties are no order.

    Of readings also messages that lie in several commits, though none of their readings is there twice: a message is
    taken whole. The alerts of one may be more than a commit holds.
    """
    ways = [behind(table, column) for column in columns] + [split(table)] * (table == "stored")
    report.found_rows(db, "reordered", f"""(SELECT device_id AS device, boot, seq,
        '{table}: ' || string_agg(how, ', ' ORDER BY how) AS how
        FROM ({' UNION ALL '.join(ways)}) GROUP BY ALL)""")


def behind(table, column):
    # A message that is there twice counts where it came first. The highest number reached before a step, a commit or
    # an instant, is found per step, of which there are fewer than messages.
    return f"""(WITH taken AS (SELECT device_id, boot, seq, min({column}) AS step FROM {table}
                WHERE boot IS NOT NULL AND seq IS NOT NULL AND {column} IS NOT NULL GROUP BY ALL),
            steps AS (SELECT device_id, boot, step, min(seq) AS lowest, max(seq) AS highest FROM taken GROUP BY ALL),
            reached AS (SELECT *, max(highest) OVER (PARTITION BY device_id, boot ORDER BY step
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached FROM steps)
        SELECT device_id, boot, seq, 'behind ' || reached || ' by {column}' AS how
        FROM (FROM reached WHERE lowest < reached) JOIN taken USING (device_id, boot, step) WHERE seq < reached)"""


def split(table):
    return f"""(SELECT device_id, boot, seq, 'in several commits' AS how FROM {table} SEMI JOIN (
            SELECT device_id, boot, seq FROM {table} GROUP BY ALL HAVING min(commit) < max(commit))
            USING (device_id, boot, seq)
        GROUP BY device_id, boot, seq HAVING count(*) = count(DISTINCT (metric, time)))"""
