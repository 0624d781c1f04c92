"""A process that has imported a simulator's modules, and forks whenever a sub-process is needed.

::

    owner                     fork server                           sub-process
    ForkServer.start(..) ->   forks                            ->   child.host(..)
    Fork.wait()          <-   reports how the sub-process ended <-

So only the first sub-process waits for the imports (several seconds of CPU), and all share the
memory that these take. A renderer does not survive a fork, nor does a lock that another thread
holds: the fork server only imports. One that finds itself with several threads, or cannot import
a module, starts again without imports, and its sub-processes import for themselves.

`multiprocessing.forkserver` is close to this, but there is one for a whole process, with the
environment variables of its first use, and its children import the main module: below Ray, Ray's.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from io import FileIO
from itertools import count
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Lock
from typing import NoReturn

from rlinf.envs.hosting.child import end_with_owner, host, quiet_process
from rlinf.registry import Hosting
from rlinf.signals import kept_from_children

_WHILE_IMPORTING = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",  # NumPy's BLAS would start threads
}
_LONGEST_MESSAGE = 1 << 16
_MOST_FILES = 8


class ForkServer:
    """The owner's side. Any thread may use it."""

    def __init__(self, hosting: Hosting, log_file: Path) -> None:
        """Begins to import the modules; what the imports print is appended to `log_file`.

        Its sub-processes get the environment variables that this process has now, and those of
        `hosting`.
        """
        self._hosting, self._log_file = hosting, log_file
        self._environment = {**os.environ, **hosting.environment}
        self._numbers = count()
        self._lock = Lock()
        self._start()

    def start(self, log_file: Path, files: Sequence[int]) -> Fork:
        """Begins a sub-process, `child.host(files)` with copies of the files.

        What it prints is appended to `log_file`.
        """
        number = next(self._numbers)
        status, theirs = Pipe(duplex=False)
        request = json.dumps(["fork", number, str(log_file)]).encode()
        with theirs, self._lock:
            try:
                socket.send_fds(self._control, [request], [theirs.fileno(), *files])
            except (BrokenPipeError, ConnectionResetError):  # it was killed
                self._end()
                self._start()
                socket.send_fds(self._control, [request], [theirs.fileno(), *files])
        return Fork(self, number, status)

    def kill(self, number: int) -> None:
        """Kills a sub-process if it still exists; its parent alone knows that for certain."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(json.dumps(["kill", number]).encode())

    def close(self) -> None:
        """Ends the fork server, which must not have sub-processes any more."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, our_life = os.pipe()
        self._life = FileIO(our_life, "wb")  # it closes with us, and that ends the fork server
        importing = {**_WHILE_IMPORTING, **self._hosting.import_environment}
        before = {name: self._environment.get(name) for name in importing}
        with theirs, FileIO(life, "rb"):
            files = (theirs.fileno(), life)
            descriptors = map(str, files)
            modules = self._hosting.modules
            what = (str(self._log_file), *descriptors, json.dumps(before), *modules)
            with kept_from_children():
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, *what],
                    env={**self._environment, **importing, "PYTHONPATH": _search_path()},
                    pass_fds=files,
                )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._life.close()


class Fork:
    """A sub-process of a fork server, as the owner of both sees it."""

    def __init__(self, server: ForkServer, number: int, status: Connection) -> None:
        self._server, self._number, self._status = server, number, status
        self._code: int | None = None

    def wait(self, timeout_s: float | None) -> int | None:
        """Its exit code, once it has ended; negative is a signal.

        Returns:
            None if the fork server ended first: it alone could have known.

        Raises:
            TimeoutError: after `timeout_s` seconds it has not ended.
        """
        if self._status.closed:
            return self._code
        if not self._status.poll(timeout_s):
            raise TimeoutError
        with self._status, suppress(EOFError, ConnectionResetError):
            self._code = self._status.recv()
        return self._code

    def kill(self) -> None:
        """Kills it if it still exists."""
        self._server.kill(self._number)


_shared: dict[tuple[object, ...], tuple[ForkServer, int]] = {}  # and its number of users
_sharing = Lock()


def obtain(hosting: Hosting, log_file: Path) -> ForkServer:
    """The fork server of all simulators in this process with the same `hosting`.

    With other environment variables than before it is another one. Each `obtain` is followed by a
    `release`.
    """
    variables = tuple(sorted({**os.environ, **hosting.environment}.items()))
    importing = tuple(sorted(hosting.import_environment.items()))
    key = (hosting.modules, variables, importing, _search_path(), Path.cwd())
    with _sharing:
        server, users = _shared.get(key) or (ForkServer(hosting, log_file), 0)
        _shared[key] = (server, users + 1)
    return server


def release(server: ForkServer) -> None:
    """Ends it with its last user."""
    with _sharing:
        ((key, users),) = [(k, users) for k, (s, users) in _shared.items() if s is server]
        if users > 1:
            _shared[key] = (server, users - 1)
        else:
            del _shared[key]
            server.close()


def _search_path() -> str:
    """Where this interpreter finds modules, for another one; not in the working folder."""
    return os.pathsep.join(filter(None, sys.path))


# --- the fork server's side ----------------------------------------------------------------------


def _main(log_file: str, control: str, life: str, before: str, *modules: str) -> NoReturn:
    quiet_process(Path(log_file), {})
    end_with_owner(int(life))
    faulthandler.enable()
    _rename("rlinf-forks")
    try:
        for module in modules:
            import_module(module)
    except Exception:  # noqa: BLE001 - the sub-process that needs the module meets it again
        traceback.print_exc()
        _begin_anew(log_file, control, life, before)
    # Without modules they are the interpreter's, of a `sitecustomize` say, and would come again.
    if modules and len(list(Path("/proc/self/task").iterdir())) > 1:
        print(f"{', '.join(modules)}: started threads, so a fork is not safe")
        _begin_anew(log_file, control, life, before)
    _set_environment(json.loads(before))
    gc.collect()
    gc.freeze()  # collections in the sub-processes leave the shared pages alone
    _Server(socket.socket(fileno=int(control)), int(life)).run()
    os._exit(0)


def _begin_anew(log_file: str, control: str, life: str, before: str) -> NoReturn:
    """Without imports."""
    print("the sub-processes import their modules one by one", flush=True)
    what = (log_file, control, life, before)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "rlinf.envs.hosting.fork_server", *what])


def _set_environment(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class _Server:
    """Forks on request, and reports the end of each sub-process."""

    def __init__(self, control: socket.socket, life: int) -> None:
        self._control, self._life = control, life
        self._children: dict[int, tuple[int, Connection]] = {}  # number -> process, where to report
        self._bell, ringing = os.pipe()
        for end in (self._bell, ringing):
            os.set_blocking(end, False)
        self._ringing = ringing
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that the bell rings
        signal.set_wakeup_fd(ringing, warn_on_full_buffer=False)

    def run(self) -> None:
        """Until the owner closes the control socket."""
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._bell], [], [])
            if self._bell in ready:
                os.read(self._bell, 512)
                self._report_ended()
            if self._control.fileno() in ready:
                message, files, _, _ = socket.recv_fds(self._control, _LONGEST_MESSAGE, _MOST_FILES)
                if not message:
                    return
                self._obey(json.loads(message), files)

    def _obey(self, message: Sequence[object], files: Sequence[int]) -> None:
        what, number, *rest = message
        assert isinstance(number, int)
        if what == "kill":
            if number in self._children:
                os.kill(self._children[number][0], signal.SIGKILL)
            return
        (log_file,) = rest
        status, *others = files
        process = os.fork()
        if process == 0:
            os.close(status)
            self._leave_to_the_server()
            _rename("rlinf-simulator")
            quiet_process(Path(str(log_file)), {})
            host(others)
        for file in others:
            os.close(file)
        self._children[number] = (process, Connection(status, readable=False))

    def _leave_to_the_server(self) -> None:
        """In a sub-process: gives up what only the fork server needs."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for _, report in self._children.values():
            report.close()
        self._control.close()
        for file in (self._bell, self._ringing, self._life):
            os.close(file)

    def _report_ended(self) -> None:
        for number, (process, report) in list(self._children.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            with suppress(BrokenPipeError):  # the owner has closed its end
                report.send(os.waitstatus_to_exitcode(status))
            report.close()
            del self._children[number]


def _rename(name: str) -> None:
    """What `ps` and `top` call this process."""
    Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    _main(*sys.argv[1:])
