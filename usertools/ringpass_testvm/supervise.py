# SPDX-License-Identifier: BSD-3-Clause
"""Starts the processes of one run and ends every one of them, whatever happens.

Each process has a session of its own (so that a Ctrl-C in the terminal reaches us first and we take things
down in order) and dies with us even when we are killed (PR_SET_PDEATHSIG). Processes are ended through
their Popen object, never by name: the pid cannot have been reused while it is not reaped.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time

from . import stopping
from .errors import TestvmError

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.02
STOP_SECONDS = 10
# Every process that we start carries this variable: a leak check finds also what has daemonised itself.
MARK_VARIABLE = "RINGPASS_RUN"

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent, signum=signal.SIGKILL):
    """In a child before exec: it gets signum when the process with the id parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:  # it has died between fork and prctl
        os._exit(1)


def run(argv, timeout, **kwargs):
    """subprocess.run with captured text, for short commands. @raises TestvmError when it fails or hangs."""
    parent = os.getpid()
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False,
                              preexec_fn=lambda: die_with_parent(parent), **kwargs)
    except subprocess.TimeoutExpired as error:
        raise TestvmError(f"{argv[0]}: no end within {timeout} s") from error
    except OSError as error:
        raise TestvmError(f"{argv[0]}: {error.strerror}") from error
    if done.returncode:
        text = (done.stderr or done.stdout).strip()
        raise TestvmError(f"{' '.join(argv)}: status {done.returncode}: {text}")
    return done.stdout


def wait_until(condition, timeout, what, alive=None):
    """Poll until condition() is true, and return its value. alive() may raise to end the wait early."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if alive:
            alive()
        if time.monotonic() > end:
            raise TestvmError(f"{what}: not within {timeout:g} s")
        time.sleep(POLL_SECONDS)


def tail(path, lines=20):
    """The last lines of a log, indented for an error message; empty when there is none."""
    try:
        with open(path, "rb") as file:
            text = file.read()[-8192:].decode(errors="replace")
    except OSError:
        return ""
    kept = text.splitlines()[-lines:]
    return "".join(f"\n    {line.rstrip()}" for line in kept)


class Process:
    """One running program; its standard output and error go to one log file."""

    def __init__(self, name, argv, log_path, env, **kwargs):
        self.name = name
        self.log_path = log_path
        parent = os.getpid()
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        with open(log_path, "ab") as log:
            self._log_start = log.tell()
            try:
                self._popen = subprocess.Popen(argv, stdout=log, stderr=log, env=env, start_new_session=True,
                                               preexec_fn=lambda: die_with_parent(parent), **kwargs)
            except OSError as error:
                raise TestvmError(f"{name}: cannot start {argv[0]}: {error.strerror}") from error
        self.pid = self._popen.pid

    def poll(self):
        """Exit status (negative: by signal), or None while it runs."""
        return self._popen.poll()

    def log(self):
        """What it has printed since it was started."""
        with open(self.log_path, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def require_alive(self):
        status = self.poll()
        if status is not None:
            raise TestvmError(f"{self.name}: ended with status {status}{tail(self.log_path)}")

    def wait_for_line(self, text, timeout):
        """Until it has printed a line that contains text. @return that line."""
        def found():
            lines = self.log().split("\n")[:-1]
            return next((line for line in lines if text in line), None)
        try:
            return wait_until(found, timeout, f"{self.name}: line {text!r}", self.require_alive)
        except TestvmError as error:
            raise TestvmError(f"{error}{'' if self.poll() is not None else tail(self.log_path)}") from error

    def wait(self, timeout):
        """@return exit status."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TestvmError(f"{self.name}: still running after {timeout:g} s{tail(self.log_path)}") from error

    def kill(self):
        """The hard way, as a crash would. @return exit status."""
        self._popen.kill()
        return self._popen.wait()

    def stop(self, timeout=STOP_SECONDS):
        """SIGTERM, and SIGKILL when it does not listen. @return exit status."""
        if self._popen.poll() is None:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._popen.wait(timeout)
            self._popen.kill()
        return self._popen.wait()


class Supervisor:
    """A run directory and the processes of the run.

    A context manager; or open() and close(), where close() may be called at any time and more than once.
    """

    def __init__(self, name, directory=None):
        """directory: an existing one, which is kept. Else a temporary one, which close() removes."""
        self._name = name
        self._own_directory = directory is None
        self._processes = []
        self._closers = []
        self.directory = directory and os.path.abspath(directory)
        self.mark = os.environ.get(MARK_VARIABLE) or f"{name}-{os.getpid()}"

    def open(self):
        if self._own_directory and not self.directory:
            with stopping.deferred():
                self.directory = tempfile.mkdtemp(prefix=f"ringpass-{self._name}-")
        if not os.path.isdir(self.directory):
            raise TestvmError(f"{self.directory}: not a directory")
        return self

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, name, argv, env=None, **kwargs):
        """@return Process. env: variables to add."""
        env = {**os.environ, MARK_VARIABLE: self.mark, **(env or {})}
        kwargs.setdefault("cwd", self.directory)  # where a core file may go
        with stopping.deferred():
            process = Process(name, argv, self.path(f"{name}.log"), env, **kwargs)
            self._processes.append(process)
        return process

    def on_close(self, closer):
        """Have closer() called when all processes have ended. It must be safe to call twice."""
        self._closers.append(closer)

    def close(self):
        """End what was started, the last one first; then remove the directory if it is ours, else its sockets."""
        with stopping.deferred():
            for process in reversed(self._processes):
                process.stop()
            self._processes.clear()
            for closer in self._closers:
                closer()
            self._closers.clear()
            if self._own_directory and self.directory:
                shutil.rmtree(self.directory, ignore_errors=True)
                self.directory = None
            elif self.directory and os.path.isdir(self.directory):
                for name in self.socket_names():
                    os.unlink(self.path(name))

    def socket_names(self):
        """Unix sockets in the directory, whoever has made them."""
        return [name for name in os.listdir(self.directory) if stat.S_ISSOCK(os.lstat(self.path(name)).st_mode)]

    def __enter__(self):
        return self.open()

    def __exit__(self, *_):
        self.close()
