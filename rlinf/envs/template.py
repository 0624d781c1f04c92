"""A process that has imported a simulator's modules, and forks whenever a sub-process shall begin.

::

    owner                     template                              sub-process
    Template.fork(..)    ->   forks                            ->   hosted.host(..)
    Fork.wait()          <-   says how the sub-process ended   <-

So only the first sub-process waits for the imports (several seconds of CPU), and all share the
memory that these take. A renderer does not survive a fork, nor does a lock that another thread
holds: the template only imports, and one that finds itself with several threads, or cannot import
what it shall, begins anew and imports nothing, which its sub-processes then do for themselves.

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

from rlinf.envs.hosted import end_with_owner, host, quiet_process
from rlinf.signals import kept_from_children

_WHILE_IMPORTING = {
    "MUJOCO_GL": "disable",  # MuJoCo opens its renderer when it is imported
    "CUDA_VISIBLE_DEVICES": "",
}
_LONGEST_MESSAGE = 1 << 16
_MOST_FILES = 8


class Template:
    """The owner's side. Any thread may use it."""

    def __init__(self, modules: Sequence[str], log_file: Path) -> None:
        """Begins to import `modules`; what the imports print is appended to `log_file`.

        Its sub-processes get the environment variables that this process has now.
        """
        self._modules, self._log_file = modules, log_file
        self._environment = dict(os.environ)
        self._numbers = count()
        self._lock = Lock()
        self._start()

    def fork(self, log_file: Path, files: Sequence[int]) -> Fork:
        """Begins a sub-process: `hosted.host(log_file, *files)`, with copies of the files."""
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
        """Ends the template, which must not have sub-processes any more."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life, our_life = os.pipe()
        self._life = FileIO(our_life, "wb")  # it closes with us, and that ends the template
        before = {name: self._environment.get(name) for name in _WHILE_IMPORTING}
        with theirs, FileIO(life, "rb"):
            files = (theirs.fileno(), life)
            what = (str(self._log_file), *map(str, files), json.dumps(before), *self._modules)
            with kept_from_children():
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, *what],
                    env={**self._environment, **_WHILE_IMPORTING, "PYTHONPATH": _search_path()},
                    pass_fds=files,
                )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._control.close()
        self._life.close()


class Fork:
    """A sub-process of a template, as the owner of both sees it."""

    def __init__(self, template: Template, number: int, status: Connection) -> None:
        self._template, self._number, self._status = template, number, status
        self._code: int | None = None

    def wait(self, timeout_s: float | None) -> int | None:
        """Its exit code, once it has ended; negative is a signal.

        Returns:
            None if the template ended first: then nobody knows.

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
        self._template.kill(self._number)


_shared: dict[tuple[object, ...], tuple[Template, int]] = {}  # and how many users it has
_sharing = Lock()


def obtain(modules: Sequence[str], log_file: Path) -> Template:
    """The template of all in this process that need the same modules; see `Template`.

    With other environment variables than before it is another one. Whoever obtained it releases it.
    """
    variables = tuple(sorted(os.environ.items()))
    key = (tuple(modules), variables, _search_path(), Path.cwd())
    with _sharing:
        template, users = _shared.get(key) or (Template(modules, log_file), 0)
        _shared[key] = (template, users + 1)
    return template


def release(template: Template) -> None:
    """Ends it if nobody else uses it."""
    with _sharing:
        ((key, users),) = [(k, users) for k, (t, users) in _shared.items() if t is template]
        if users > 1:
            _shared[key] = (template, users - 1)
        else:
            del _shared[key]
            template.close()


def _search_path() -> str:
    """Where this interpreter finds modules, for another one."""
    return os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)


# --- the template's side -------------------------------------------------------------------------


def _main(log_file: str, control: str, life: str, before: str, *modules: str) -> NoReturn:
    quiet_process(Path(log_file))
    end_with_owner(int(life))
    faulthandler.enable()
    _rename("rlinf-template")
    try:
        for module in modules:
            import_module(module)
    except Exception:  # noqa: BLE001 - the sub-process that needs the module meets it again
        traceback.print_exc()
        _begin_anew(log_file, control, life, before)
    # Without modules they are the interpreter's, of a `sitecustomize` say: they would come again.
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
    os.execv(sys.executable, [sys.executable, "-P", "-m", "rlinf.envs.template", *what])


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
            self._leave_to_the_template()
            _rename("rlinf-simulator")
            host(Path(str(log_file)), *others)
        for file in others:
            os.close(file)
        self._children[number] = (process, Connection(status, readable=False))

    def _leave_to_the_template(self) -> None:
        """In a sub-process: gives up what only the template needs."""
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
            with suppress(BrokenPipeError):  # the owner does not want to know
                report.send(os.waitstatus_to_exitcode(status))
            report.close()
            del self._children[number]


def _rename(name: str) -> None:
    """What `ps` and `top` call this process."""
    Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    _main(*sys.argv[1:])
