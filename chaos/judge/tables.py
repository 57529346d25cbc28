"""A table of Weir, as its files and its Delta log show it to any reader."""

from collections import namedtuple

import duckdb

from delta_log import Log
from report import CannotJudge

READING_COLUMNS = {
    "device_id": "VARCHAR", "metric": "VARCHAR", "time": "TIMESTAMPTZ", "value": "DOUBLE", "value_bool": "BOOLEAN",
    "value_text": "VARCHAR", "unit": "VARCHAR", "site": "VARCHAR", "boot": "BIGINT", "seq": "BIGINT",
    "received_at": "TIMESTAMPTZ",
}
ALERT_COLUMNS = {"rule_id": "VARCHAR"} | READING_COLUMNS
LOG = "_delta_log"

# A data file that a glob finds; `resized` if it has not the size of its commit.
Found = namedtuple("Found", "path commit resized")


def load(db, name, folder, columns, report):
    """Makes the table `name`: `columns`, then `commit`, null for rows of files that no commit names."""
    if not folder.is_dir():
        raise CannotJudge(f"{folder}: there is no such directory")
    log = Log(folder / LOG)
    log.check_checkpoints(db)
    report.found("log_damage", len(log.damage), log.damage)
    files = compare(folder, log, report)
    definition = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    db.execute(f"CREATE TABLE {name} ({definition}, commit BIGINT)")
    try:
        insert(db, name, files, columns)
    except duckdb.Error:
        # Some file cannot be read: find out which, and go on with the others, so that its rows count as lost.
        readable = [file for file in files if not damaged(file, columns, report)]
        insert(db, name, readable, columns)


def compare(folder, log, report):
    """Holds the files on disk against those of the log. Returns the ones that a glob reads."""
    on_disk = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")
               if path.is_file() and path.relative_to(folder).parts[0] != LOG}
    stray = sorted(on_disk.keys() - log.files.keys())
    missing = sorted(log.files.keys() - on_disk.keys())
    resized = {name: found for name, (_, size) in log.files.items()
               if name in on_disk and (found := on_disk[name].stat().st_size) != size}
    report.found("stray_files", len(stray), [str(folder / name) for name in stray])
    report.found("missing_files", len(missing), [str(folder / name) for name in missing])
    report.found("damaged_files", len(resized),
                 [f"{folder / name}: committed with {log.files[name][1]} bytes, has {found}"
                  for name, found in resized.items()])
    # What people are told to read is date=*/hour=*/*.parquet, so that is read here, and not the files of the log: a
    # file that no commit names is then seen with its rows, as people would see them. `**` would also read the
    # checkpoints of the log as data.
    named = {path: path.relative_to(folder).as_posix() for path in sorted(folder.glob("date=*/hour=*/*.parquet"))}
    return [Found(str(path), log.files.get(name, (None,))[0], name in resized) for path, name in named.items()]


def insert(db, name, files, columns):
    if not files:
        return
    paths, commits = [file.path for file in files], [file.commit for file in files]
    db.execute("""CREATE OR REPLACE TEMP TABLE files AS
        SELECT unnest(?::VARCHAR[]) AS filename, unnest(?::BIGINT[]) AS commit""", [paths, commits])
    db.execute(f"INSERT INTO {name} {select(columns, 'commit')} JOIN files USING (filename)", [paths])


def damaged(file, columns, report):
    """Whether `file` cannot be read to its end; reported, unless its size said so already."""
    try:
        # In a database of its own: an internal error makes DuckDB refuse everything after it.
        duckdb.connect().execute(f"SELECT bit_xor(hash(t)) FROM ({select(columns)}) AS t", [[file.path]]).fetchall()
        return False
    except duckdb.Error as problem:
        if not file.resized:
            report.found("damaged_files", 1, [f"{file.path}: {str(problem).splitlines()[0]}"])
        return True


def select(columns, *more):
    # hive_partitioning = false: the file alone says what is in it, not the name of its folder.
    return (f"SELECT {', '.join([*columns, *more])} FROM "
            "read_parquet(?, filename = true, hive_partitioning = false, union_by_name = false)")
