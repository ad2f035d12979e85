"""How the pods of a gang hear of each other: one TCP connection from each to the leader.

The supervisor's loop polls it: whose loop does not come round is silent, and silence is death.
MXNet itself would wait for a dead worker for ever.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from finetune_trainer.contract import Job
from finetune_trainer.run.gang import LEADER, Gang
from finetune_trainer.supervisor.connection import Connection, PeerMessage, last_words, lost
from finetune_trainer.supervisor.termination import Ending, reference

_CONNECT_SECONDS = 2.0


class Peers(Protocol):
    """The rest of the gang, as the supervisor sees it."""

    joined: bool
    """Whether the work can begin."""
    released: bool
    """Whether this pod may end."""
    environment: Mapping[str, str]
    """What the stages need to know."""

    def poll(self, *, stopping: bool) -> bool:
        """Hear and be heard; return whether another pod was asked to stop. Raises PeerLost."""

    def finished(self, stage: str) -> None:
        """Note that a stage of this pod ended well."""

    def close(self, ending: Ending) -> None:
        """Say how this pod ends."""


class Alone:
    """A gang of one."""

    joined = released = True
    environment: Mapping[str, str] = {}

    def poll(self, *, stopping: bool) -> bool:
        """Nobody is there."""
        return False

    def finished(self, stage: str) -> None:
        """Nobody is told."""

    def close(self, ending: Ending) -> None:
        """Nobody is told."""


class Leader:
    """Pod 0: the others connect to it."""

    joined = released = True
    environment: Mapping[str, str] = {}

    def __init__(self, job: Job, gang: Gang, say: Callable[[str], None]) -> None:
        self._gang, self._say = gang, say
        self._line = PeerMessage(job=reference(job), host=socket.gethostname())
        self._began = time.monotonic()
        self._strangers: list[Connection] = []
        self._members: dict[int, Connection] = {}
        self._listener = socket.create_server(("", gang.port), backlog=gang.nodes)
        self._listener.setblocking(False)

    def poll(self, *, stopping: bool) -> bool:
        """Hear and be heard."""
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted = self._listener.accept()[0]
                limit = self._gang.peer_seconds
                self._strangers.append(Connection(accepted, peer_seconds=limit))
        for connection in (*self._strangers, *self._members.values()):
            connection.receive()
        self._admit()
        for member in self._members.values():
            member.beat(self._line)
        if not self._line.fitted:
            self._check(stopping=stopping)
        return any(member.last.stopping for member in self._members.values())

    def finished(self, stage: str) -> None:
        """Let the others go after the fit."""
        if stage == "fit":
            self._tell(msgspec.structs.replace(self._line, fitted=True))

    def close(self, ending: Ending) -> None:
        """Say how this pod ends."""
        self._tell(last_words(self._line, ending))
        self._listener.close()
        for connection in (*self._strangers, *self._members.values()):
            connection.close()

    def _tell(self, line: PeerMessage) -> None:
        self._line = line
        for member in self._members.values():
            member.send(self._line)

    def _admit(self) -> None:
        strangers, self._strangers = self._strangers, []
        for connection in strangers:
            if connection.first is None and connection.is_open and not connection.is_silent:
                self._strangers.append(connection)
                continue
            connection.send(self._line)
            if (index := self._index_of(connection.first)) is None:
                connection.close()
            else:
                self._members[index] = connection
                count = f"{len(self._members) + 1} of {self._gang.nodes}"
                self._say(f"{connection.name} has joined the gang: {count}")

    def _index_of(self, line: PeerMessage | None) -> int | None:
        """Return the member's index, unless it is of another job or attempt, or there already."""
        own = self._line.job
        if line is None or line.job is None or own is None:
            return None
        if (line.job.uid, line.job.attempt) != (own.uid, own.attempt):
            return None
        free = 0 < line.index < self._gang.nodes and line.index not in self._members
        return line.index if free else None

    def _check(self, *, stopping: bool) -> None:
        for member in self._members.values():
            member.check(stopping=stopping)
        missing = set(range(1, self._gang.nodes)) - self._members.keys()
        if missing and time.monotonic() - self._began > self._gang.join_seconds:
            names = ", ".join(map(str, sorted(missing)))
            raise lost(f"Pod {names} of the gang did not come for {self._gang.join_seconds:g} s")


class Follower:
    """Any other pod: it connects to the leader."""

    def __init__(self, job: Job, gang: Gang, say: Callable[[str], None]) -> None:
        self._gang, self._say = gang, say
        self._line = PeerMessage(job=reference(job), index=gang.index, host=socket.gethostname())
        self._began = time.monotonic()
        self._told = ""
        self._connection: Connection | None = None
        self.joined = self.released = False
        self.environment: Mapping[str, str] = {}

    def poll(self, *, stopping: bool) -> bool:
        """Hear and be heard; until the leader answers, look for it."""
        if self._connection is None:
            self._connection = self._connect()
        elif not self.released:
            self._hear(self._connection, stopping=stopping)
        return False

    def finished(self, stage: str) -> None:
        """Wait for the leader, which still has to save: see `released`."""

    def close(self, ending: Ending) -> None:
        """Say how this pod ends."""
        if self._connection:
            self._connection.send(last_words(self._line, ending))
            self._connection.close()

    def _connect(self) -> Connection | None:
        place = (self._gang.coordinator, self._gang.port)
        try:
            connected = socket.create_connection(place, timeout=_CONNECT_SECONDS)
        except OSError as error:
            self._wait(str(error))
            return None
        connection = Connection(connected, peer_seconds=self._gang.peer_seconds)
        connection.send(self._line)
        return connection

    def _wait(self, why: str) -> None:
        where = f"pod 0 of the gang at {self._gang.coordinator}:{self._gang.port}"
        if why != self._told:
            self._told = why
            self._say(f"waiting for {where}: {why}")
        if time.monotonic() - self._began > self._gang.join_seconds:
            raise lost(f"{where} was not found for {self._gang.join_seconds:g} s: {why}")

    def _hear(self, leader: Connection, *, stopping: bool) -> None:
        leader.receive()
        if not self.joined and not self._meet(leader):
            return
        self._line = msgspec.structs.replace(self._line, stopping=stopping)
        leader.beat(self._line)
        self.released = leader.last.fitted or leader.last.ended == 0
        if not self.released:
            leader.check(stopping=stopping)

    def _meet(self, leader: Connection) -> bool:
        """Return whether it is the leader of this attempt: an earlier one's may still be there."""
        own, found = self._line.job, leader.first and leader.first.job
        if found and own and (found.uid, found.attempt) == (own.uid, own.attempt):
            self._say(f"{leader.name} leads the gang")
            self.joined, self.environment = True, {LEADER: found.pod_uid}
        elif found or not leader.is_open or leader.is_silent:
            leader.close()
            self._connection = None
            self._wait("a pod of another attempt is there" if found else "it does not answer")
        return self.joined


def meet(job: Job, gang: Gang, say: Callable[[str], None]) -> Peers:
    """Return the rest of this pod's gang."""
    if gang.nodes == 1:
        return Alone()
    return Leader(job, gang, say) if gang.is_leader else Follower(job, gang, say)
