"""The dashboards, in the order of their links."""

from boards import fleet, machine, pipeline, rules, storage

BOARDS = [pipeline.BOARD, fleet.BOARD, rules.BOARD, storage.BOARD, machine.BOARD]
