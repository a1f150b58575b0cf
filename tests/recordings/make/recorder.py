# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Onlooker as a recorder, the processes around it, and recordings without what is this machine's own.

In: commands. Out: a recording whose facts name no host, no user and no folder of the machine that made it.
"""

import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

PATIENCE = 20
# What every process gets, so that nothing of the machine's own comes in.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "LANG": "C.UTF-8"}
KIND_RECORD, KIND_FACTS = 1, 2
PROCESS_RECORD = 4


class Scene:
    """The processes of one scenario; they end with it."""

    def __init__(self, onlooker, folder):
        self.onlooker, self.folder, self.processes, self.recorder = onlooker, folder, [], None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            # Its children would outlive it, and hold its port.
            for pid in family(process.pid) if process.poll() is None else ():
                os.kill(pid, signal.SIGKILL)
            process.wait()

    def serve(self, *command, at):
        """Starts a server and waits until it takes connections."""
        if accepts(at):
            raise RuntimeError(f"another process listens at {at}")
        process = self.start([*map(str, command)], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not accepts(at):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen at {at}")
            time.sleep(0.02)
        return process

    def client(self, *command):
        """A client that waits for its starting signal, so that it can be watched from its first byte."""
        waiting = ["/bin/sh", "-c", 'read -r line; exec "$@"', "sh", *map(str, command)]
        return self.start(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, command, **pipes):
        process = subprocess.Popen(command, env=ENVIRONMENT, cwd=self.folder, stderr=subprocess.DEVNULL, **pipes)
        self.processes.append(process)
        return process

    def record(self, *watched):
        pids = [pid for process in watched for pid in family(process.pid)]
        command = [self.onlooker, "record", f"{self.folder}/raw", "--pid", ",".join(map(str, pids))]
        self.recorder = subprocess.Popen(
            [*command, "--admin", "off", "--print", "none"],
            env=ENVIRONMENT, cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )
        self.processes.append(self.recorder)
        for line in self.recorder.stderr:
            if "ready:" in line:
                return
        raise RuntimeError("Onlooker did not become ready")

    def finish(self, client):
        """Lets a client go, and gives what it said."""
        output, _ = client.communicate(b"go\n", timeout=PATIENCE)
        return output.decode(errors="replace").strip()

    def stop(self, recording):
        # The last close of a server comes after its client has gone, and nobody tells when.
        time.sleep(0.3)
        self.recorder.send_signal(signal.SIGTERM)
        ledger = self.recorder.stderr.read()
        if self.recorder.wait(PATIENCE) != 0:
            raise RuntimeError(ledger)
        raw = pathlib.Path(self.folder, "raw").read_bytes()
        pathlib.Path(recording).write_bytes(neutral(raw, self.folder))
        return ledger


def accepts(at):
    family, address = (socket.AF_UNIX, at) if isinstance(at, str) else (socket.AF_INET, ("127.0.0.1", at))
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


def family(pid):
    """The process and its descendants."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [descendant for child in children for descendant in family(int(child))]


def neutral(raw, folder):
    """The recording with facts that say nothing of this machine, and without what other processes did meanwhile."""
    known = set()
    at = raw.index(b"\n") + 1
    frames = [raw[:at]]
    while at < len(raw):
        kind, length = struct.unpack_from("<BI", raw, at)
        body = raw[at + 5 : at + 5 + length]
        at += 5 + length
        if kind == KIND_FACTS:
            facts = neutral_facts(json.loads(body), folder)
            known.add(facts.get("process", {}).get("tgid"))
            body = json.dumps(facts, separators=(",", ":")).encode()
        if kind == KIND_RECORD and is_of_another(body, known):
            continue
        frames.append(struct.pack("<BI", kind, len(body)) + body)
    return b"".join(frames)


def is_of_another(record, known):
    kind, _, tgid, parent = struct.unpack_from("<IIII", record)
    return kind == PROCESS_RECORD and tgid not in known and parent not in known


def neutral_facts(facts, folder):
    if "host" in facts:
        facts["host"] = {"name": "host", "id": None}
    if process := facts.get("process"):
        process["container_id"] = None
        process["executable"] = neutral_path(process["executable"])
        replaced = (argument.replace(folder, "/srv") for argument in process["command_line"])
        process["command_line"] = [neutral_path(argument) for argument in replaced]
    return facts


def neutral_path(path):
    """Programs of the system stay where they are; of any other path only the last name says something."""
    is_known = not path or not path.startswith("/") or path.startswith(("/usr/", "/bin/", "/sbin/", "/srv/"))
    return path if is_known else "/srv/" + os.path.basename(path)


def talk(port, *steps, hang_up=False):
    """A client by hand: sends bytes, reads until a mark where one is given; then closes, or waits for the end."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as stream:
        received = b""
        for sent, mark in steps:
            stream.sendall(sent)
            while mark and mark not in received:
                received += stream.recv(65536)
            received = b""
        if not hang_up:
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65536):
                pass
