"""SSH into the guest: the run's own key, the host key pinned, one connection for everything (paramiko)."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from orchestrator.errors import GuestError, LabError, LimitError

if TYPE_CHECKING:
    import paramiko


# The guest is emulated and on our own loopback device: the key exchange that costs it least comes first.
CHEAP_KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org")


@dataclass(frozen=True)
class Identity:
    """The keys of one run. ``host_key`` is in dropbear's own file format, ``authorized`` a line of
    authorized_keys, ``private`` OpenSSH's PEM; ``host_public`` the wire form that the guest must show."""

    private: bytes
    authorized: bytes
    host_key: bytes
    host_public: bytes


def new_identity() -> Identity:
    """Fresh ed25519 keys for the user and for the guest."""
    user, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = _wire(_raw_public(host))
    seed = host.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    # dropbear's ed25519.c, buf_put_ed25519_priv_key(): name, then seed and public key in one string
    host_key = _string(b"ssh-ed25519") + _string(seed + _raw_public(host))
    return Identity(
        private=user.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        authorized=b"ssh-ed25519 " + base64.b64encode(_wire(_raw_public(user))) + b" lab\n",
        host_key=host_key,
        host_public=public,
    )


def _raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _wire(public: bytes) -> bytes:
    return _string(b"ssh-ed25519") + _string(public)


class Ssh:
    """One authenticated connection. Raises GuestError when the guest is lost."""

    def __init__(self, port: int, identity: Identity, patience: float) -> None:
        import paramiko  # 0.2 s: only where a guest is really there

        logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what goes wrong is said once, by us
        self._paramiko = paramiko
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = paramiko.Transport(self._socket)
        self._transport.banner_timeout = self._transport.auth_timeout = patience
        self._transport.handshake_timeout = patience
        options = self._transport.get_security_options()
        options.kex = sorted(options.kex, key=lambda name: name not in CHEAP_KEX)
        try:
            self._open(identity, patience)
        except BaseException:
            self.close()
            raise

    def _open(self, identity: Identity, patience: float) -> None:
        try:
            self._transport.start_client(timeout=patience)
            shown = self._transport.get_remote_server_key().asbytes()
            if shown != identity.host_public:
                raise GuestError("whoever answers on the guest's SSH port is not our guest: its host key differs")
            key = self._paramiko.Ed25519Key.from_private_key(io.StringIO(identity.private.decode()))
            self._transport.auth_publickey("root", key)
        except (self._paramiko.SSHException, EOFError, OSError) as error:
            raise GuestError(f"SSH to the guest failed: {error or type(error).__name__}") from None

    @property
    def alive(self) -> bool:
        """Whether the connection still stands."""
        return self._transport.is_active()

    def open(self, command: str, *, terminal: tuple[str, int, int] | None = None,
             patience: float = 30.0) -> paramiko.Channel:
        """Starts ``command`` in the guest's shell and returns its channel (stdin, stdout, stderr, status).
        ``terminal`` is (TERM, columns, rows) for a pseudo-terminal; an empty command is a login shell."""
        try:
            channel = self._transport.open_session(timeout=patience)
            channel.settimeout(patience)
            if terminal:
                channel.get_pty(*terminal)
            if command:
                channel.exec_command(command)
            else:
                channel.invoke_shell()
        except (self._paramiko.SSHException, EOFError, OSError) as error:
            raise GuestError(f"the guest does not start a command: {error or type(error).__name__}") from None
        return channel

    def stream(self, command: str, read: Callable[[int], bytes], output: Callable[[bytes], None],
               errors: Callable[[bytes], None], patience: float) -> int | None:
        """Runs a command, feeding it what ``read(n)`` gives until b"", and handing on its output and errors
        as they come; its exit status, None if a signal ended it.

        Raises LimitError after ``patience`` seconds, GuestError if the guest is lost.
        """
        channel = self.open(command, patience=patience)
        deadline = time.monotonic() + patience
        failed: list[BaseException] = []
        ours: list[OSError] = []

        def hand_on(take: Callable[[bytes], None], chunk: bytes) -> None:
            try:
                take(chunk)
            except OSError as error:  # our own output's trouble, not the guest's
                ours.append(error)
                channel.close()
                raise

        def drain(receive: Callable[[int], bytes], take: Callable[[bytes], None]) -> None:
            while chunk := receive(1 << 16):
                hand_on(take, chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError
                channel.settimeout(max(0.01, deadline - time.monotonic()))

        def aside(work: Callable[[], None]) -> threading.Thread:
            def guarded() -> None:
                try:
                    work()
                except (OSError, EOFError, LabError, self._paramiko.SSHException) as error:
                    failed.append(error)

            thread = threading.Thread(target=guarded, daemon=True)
            thread.start()
            return thread

        def feed() -> None:
            try:
                while chunk := read(1 << 15):
                    try:
                        channel.sendall(chunk)
                    except OSError:  # the command has ended before it read everything: no more is wanted
                        return
            finally:
                with contextlib.suppress(OSError):
                    channel.shutdown_write()

        try:
            channel.settimeout(patience)
            aside(feed)
            other = aside(lambda: drain(channel.recv_stderr, errors))  # a full window would hold up the other
            drain(channel.recv, output)
            other.join(max(0.01, deadline - time.monotonic()))
            if failed:
                raise failed[0]
            if not channel.status_event.wait(max(0.01, deadline - time.monotonic())):
                raise TimeoutError
            return self._status(channel, command)
        except TimeoutError:
            raise LimitError(f"`{command}` did not end within {patience:.0f} s") from None
        except (self._paramiko.SSHException, EOFError, OSError) as error:
            if ours:
                raise ours[0] from None
            raise GuestError(f"the guest was lost during `{command}`: {error}") from None
        finally:
            channel.close()

    def _status(self, channel: paramiko.Channel, command: str) -> int | None:
        code = channel.recv_exit_status()
        if code >= 0:
            return code
        # paramiko says -1 for "no status": a signal, or a connection that has ended
        self._transport.join(0.2)
        if not self.alive:
            raise GuestError(f"the guest was lost during `{command}`")
        return None

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()
        self._socket.close()
