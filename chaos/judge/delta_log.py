"""Reads the commits of a Delta Lake table: which files it has, and which commit added each."""

import json
import re
from urllib.parse import unquote

import duckdb

COMMIT = re.compile(r"\d{20}\.json")


class Log:
    """The table as its log says: `files` by relative path, each with (commit, bytes), and what is wrong with it."""

    def __init__(self, folder):
        self.files = {}
        self.damage = []
        self.states = {}
        self.checkpoints = sorted(folder.glob("*.checkpoint.parquet")) if folder.is_dir() else []
        wanted = {int(path.name.partition(".")[0]) for path in self.checkpoints}
        commits = sorted(path for path in folder.iterdir() if COMMIT.fullmatch(path.name)) if folder.is_dir() else []
        if not commits:
            self.damage.append(f"{folder}: there is no commit")
        for expected, path in enumerate(commits):
            version = int(path.stem)
            if version != expected and not self.damage:
                # Weir deletes no commit, so each from 0 on is there.
                self.damage.append(f"{folder}: commit {expected} is missing, {version} is there")
            self._apply(version, path)
            if version in wanted:
                self.states[version] = set(self.files)

    def _apply(self, version, path):
        actions = 0
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                action = json.loads(line)
                add, remove = action.get("add"), action.get("remove")
                actions += 1
                if add is not None:
                    self._add(version, path, unquote(add["path"]), int(add["size"]))
                if remove is not None:
                    self.files.pop(unquote(remove["path"]), None)
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                self.damage.append(f"{path}, line {number}: {type(problem).__name__}: {problem}")
        if actions == 0:
            self.damage.append(f"{path}: the commit is empty")

    def _add(self, version, path, name, size):
        if name in self.files:
            self.damage.append(f"{path}: adds {name}, which commit {self.files[name][0]} added")
        else:
            self.files[name] = (version, size)

    def check_checkpoints(self, db):
        """Each checkpoint must name the files that the commits up to its version name: some readers begin there."""
        for path in self.checkpoints:
            state = self.states.get(int(path.name.partition(".")[0]))
            try:
                named = db.execute("SELECT add.path FROM read_parquet(?) WHERE add.path IS NOT NULL", [str(path)])
                named = {unquote(name) for name, in named.fetchall()}
            except duckdb.Error as problem:
                self.damage.append(f"{path}: cannot be read: {problem}")
                continue
            if named != state:
                self.damage.append(f"{path}: names {len(named)} files, the commits {len(state or ())}")
