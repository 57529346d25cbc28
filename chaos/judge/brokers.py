"""What a broker between devices and Weir lost: it is not Weir's.

Needs the tables of `witnesses`, and `stored`: the rows of the table of readings.
"""

from witnesses import MESSAGE


def set_losses_aside(db, report):
    """A message that the broker acknowledged, and gave neither to Weir nor to the other subscriber, counts as not
    acknowledged. One that Weir has in part was given to it."""
    report.figures["messages_witnessed"] = db.execute("SELECT count(*) FROM delivered").fetchone()[0]
    report.figures["messages_lost_by_broker"] = db.execute(f"""UPDATE messages SET acknowledged = false
        WHERE acknowledged AND ({MESSAGE}) NOT IN (
            SELECT ({MESSAGE}) FROM delivered UNION SELECT (device_id, boot, seq) FROM stored
            WHERE boot IS NOT NULL AND seq IS NOT NULL)""").fetchone()[0]
