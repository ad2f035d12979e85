"""The link between the supervisors of a gang: one TCP connection from each pod to the leader.

Each supervisor's loop sends the heartbeats, so that a blocked supervisor counts as dead, too.
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
from finetune_trainer.supervisor.connection import Connection, PeerMessage, final_message, peer_lost
from finetune_trainer.supervisor.termination import Ending, reference

_CONNECT_SECONDS = 2.0


class Peers(Protocol):
    """The other pods of the gang, as the supervisor sees them."""

    joined: bool
    """True if the stages can begin."""
    released: bool
    """True if this pod may end."""
    environment: Mapping[str, str]
    """Variables for the processes of the stages."""

    def poll(self, *, stopping: bool) -> bool:
        """Receive and send messages; return True if another pod was asked to stop. Raises
        PeerLost.
        """

    def finished(self, stage: str) -> None:
        """Note that a stage of this pod ended well."""

    def close(self, ending: Ending) -> None:
        """Send how this pod ends, and close the connections."""


class Alone:
    """A gang of one."""

    joined = released = True
    environment: Mapping[str, str] = {}

    def poll(self, *, stopping: bool) -> bool:
        """Return False: there is no other pod."""
        return False

    def finished(self, stage: str) -> None:
        """Send nothing: there is no other pod."""

    def close(self, ending: Ending) -> None:
        """Send nothing: there is no other pod."""


class Leader:
    """Pod 0: the others connect to it."""

    joined = released = True
    environment: Mapping[str, str] = {}

    def __init__(self, job: Job, gang: Gang, say: Callable[[str], None]) -> None:
        self._gang, self._say = gang, say
        self._state = PeerMessage(job=reference(job), host=socket.gethostname())
        self._started_at = time.monotonic()
        self._unidentified: list[Connection] = []
        self._members: dict[int, Connection] = {}
        self._listener = socket.create_server(("", gang.port), backlog=gang.nodes)
        self._listener.setblocking(False)

    def poll(self, *, stopping: bool) -> bool:
        """Accept new pods, exchange messages with all, and raise if one is lost before the end of
        the fit.
        """
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted = self._listener.accept()[0]
                limit = self._gang.peer_seconds
                self._unidentified.append(Connection(accepted, peer_seconds=limit))
        for connection in (*self._unidentified, *self._members.values()):
            connection.receive()
        self._admit()
        for member in self._members.values():
            member.send_heartbeat(self._state)
        if not self._state.fitted:
            self._check(stopping=stopping)
        return any(member.last.stopping for member in self._members.values())

    def finished(self, stage: str) -> None:
        """Release the others after the fit."""
        if stage == "fit":
            self._broadcast(msgspec.structs.replace(self._state, fitted=True))

    def close(self, ending: Ending) -> None:
        """Send how this pod ends, and close the connections."""
        self._broadcast(final_message(self._state, ending))
        self._listener.close()
        for connection in (*self._unidentified, *self._members.values()):
            connection.close()

    def _broadcast(self, state: PeerMessage) -> None:
        self._state = state
        for member in self._members.values():
            member.send(self._state)

    def _admit(self) -> None:
        unidentified, self._unidentified = self._unidentified, []
        for connection in unidentified:
            if connection.first is None and connection.is_open and not connection.is_unreachable:
                self._unidentified.append(connection)
                continue
            connection.send(self._state)
            if (index := self._index_of(connection.first)) is None:
                connection.close()
            else:
                self._members[index] = connection
                count = f"{len(self._members) + 1} of {self._gang.nodes}"
                self._say(f"{connection.name} has joined the gang: {count}")

    def _index_of(self, message: PeerMessage | None) -> int | None:
        """Return the index of a new member; None if its job or attempt is another, or if a pod of
        this index has joined already.
        """
        own = self._state.job
        if message is None or message.job is None or own is None:
            return None
        if (message.job.uid, message.job.attempt) != (own.uid, own.attempt):
            return None
        free = 0 < message.index < self._gang.nodes and message.index not in self._members
        return message.index if free else None

    def _check(self, *, stopping: bool) -> None:
        for member in self._members.values():
            member.check(stopping=stopping)
        missing = set(range(1, self._gang.nodes)) - self._members.keys()
        if missing and time.monotonic() - self._started_at > self._gang.join_seconds:
            names = ", ".join(map(str, sorted(missing)))
            raise peer_lost(
                f"Pod {names} of the gang did not join within {self._gang.join_seconds:g} s"
            )


class Follower:
    """Any other pod: it connects to the leader."""

    def __init__(self, job: Job, gang: Gang, say: Callable[[str], None]) -> None:
        self._gang, self._say = gang, say
        self._state = PeerMessage(job=reference(job), index=gang.index, host=socket.gethostname())
        self._started_at = time.monotonic()
        self._reported_reason = ""
        self._connection: Connection | None = None
        self.joined = self.released = False
        self.environment: Mapping[str, str] = {}

    def poll(self, *, stopping: bool) -> bool:
        """Exchange messages with the leader; until it has answered, connect to it."""
        if self._connection is None:
            self._connection = self._connect()
        elif not self.released:
            self._receive(self._connection, stopping=stopping)
        return False

    def finished(self, stage: str) -> None:
        """Do nothing: the leader still has to save, and then sets `released`."""

    def close(self, ending: Ending) -> None:
        """Send how this pod ends, and close the connections."""
        if self._connection:
            self._connection.send(final_message(self._state, ending))
            self._connection.close()

    def _connect(self) -> Connection | None:
        place = (self._gang.coordinator, self._gang.port)
        try:
            connected = socket.create_connection(place, timeout=_CONNECT_SECONDS)
        except OSError as error:
            self._wait(str(error))
            return None
        connection = Connection(connected, peer_seconds=self._gang.peer_seconds)
        connection.send(self._state)
        return connection

    def _wait(self, reason: str) -> None:
        where = f"pod 0 of the gang at {self._gang.coordinator}:{self._gang.port}"
        if reason != self._reported_reason:
            self._reported_reason = reason
            self._say(f"waiting for {where}: {reason}")
        if time.monotonic() - self._started_at > self._gang.join_seconds:
            raise peer_lost(
                f"{where} was not reached within {self._gang.join_seconds:g} s: {reason}"
            )

    def _receive(self, leader: Connection, *, stopping: bool) -> None:
        leader.receive()
        if not self.joined and not self._identify(leader):
            return
        self._state = msgspec.structs.replace(self._state, stopping=stopping)
        leader.send_heartbeat(self._state)
        self.released = leader.last.fitted or leader.last.ended == 0
        if not self.released:
            leader.check(stopping=stopping)

    def _identify(self, leader: Connection) -> bool:
        """Return True if this is the leader of this attempt, not one of an earlier attempt."""
        own, found = self._state.job, leader.first and leader.first.job
        if found and own and (found.uid, found.attempt) == (own.uid, own.attempt):
            self._say(f"{leader.name} is the leader of the gang")
            self.joined, self.environment = True, {LEADER: found.pod_uid}
        elif found or not leader.is_open or leader.is_unreachable:
            leader.close()
            self._connection = None
            self._wait("a pod of another attempt answers" if found else "it does not answer")
        return self.joined


def peers_of(job: Job, gang: Gang, say: Callable[[str], None]) -> Peers:
    """Return the other pods of this pod's gang."""
    if gang.nodes == 1:
        return Alone()
    return Leader(job, gang, say) if gang.is_leader else Follower(job, gang, say)
