"""Runs a command in a terminal of its own, and says what became of the terminal.

    terminal.py STEPS COMMAND...

STEPS is a JSON list, done in order: {"wait": TEXT} until the command has written TEXT since the step before,
{"send": KEYS}, {"resize": [ROWS, COLUMNS]}, {"signal": NUMBER}. Prints a JSON object.
"""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

PATIENCE_SECONDS = 60


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    steps, command = json.loads(sys.argv[1]), sys.argv[2:]
    master, slave = pty.openpty()
    resize(slave, 30, 100)
    before = termios.tcgetattr(slave)
    child = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    output = bytearray()

    def until(condition, what):
        while not condition():
            if time.monotonic() > deadline:
                child.kill()
                sys.exit(f"not within {PATIENCE_SECONDS} s: {what}\n{bytes(output)!r}")
            if select.select([master], [], [], 0.05)[0]:
                output.extend(os.read(master, 65536))

    at = 0
    for step in steps:
        if "wait" in step:
            until(lambda: step["wait"].encode() in output[at:], step)
            at = len(output)
        elif "send" in step:
            os.write(master, step["send"].encode())
        elif "resize" in step:
            resize(slave, *step["resize"])
        elif "signal" in step:
            child.send_signal(step["signal"])
    until(lambda: child.poll() is not None, "the command ends")
    while select.select([master], [], [], 0)[0]:
        output.extend(os.read(master, 65536))
    result = {
        "code": child.returncode,
        "settings_restored": termios.tcgetattr(slave) == before,
        "other_screen_left": -1 < output.rfind(b"\x1b[?1049h") < output.rfind(b"\x1b[?1049l"),
        "cursor_shown": -1 < output.rfind(b"\x1b[?25l") < output.rfind(b"\x1b[?25h"),
        "coloured": b"\x1b[38;5;" in output or b"\x1b[32m" in output,
        "text": output.decode(errors="replace"),
    }
    print(json.dumps(result))


main()
