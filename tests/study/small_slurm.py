"""A SLURM of one machine: munge, controller and node daemon, all of the user who runs the tests, in a folder."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
START_SECONDS = 60.0
SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def path_of(daemon: str) -> str | None:
    """Debian has them where only root looks."""
    return shutil.which(daemon, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


@contextmanager
def small_slurm(folder: Path) -> Iterator[Path]:
    """The configuration file, for SLURM_CONF, of a cluster that waits for jobs; its daemons end with the block."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)  # munge refuses a socket that others could not reach
    host = socket.gethostname().partition(".")[0]
    settings = SETTINGS.format(host=host, user=getpass.getuser(), folder=folder, ports=free_ports(2))
    conf = folder / "slurm.conf"
    conf.write_text(settings)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = {
        "munged": ["--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        "slurmctld": ["-D", "-f", str(conf)],
        "slurmd": ["-D", "-f", str(conf), "-N", host],
    }
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    with ExitStack() as stack:
        for daemon, arguments in commands.items():
            log = stack.enter_context((folder / f"{daemon}.out").open("wb"))
            process = subprocess.Popen([str(path_of(daemon)), *arguments], stdout=log, stderr=log, env=environment)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        wait_for_node(folder, environment)
        yield conf


def wait_for_node(folder: Path, environment: dict[str, str]) -> None:
    end = time.monotonic() + START_SECONDS
    said = ""
    while time.monotonic() < end:
        done = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, env=environment)
        said = done.stdout + done.stderr
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    logs = "".join(path.read_text(errors="replace")[-1000:] for path in sorted(folder.glob("*.out")))
    raise AssertionError(f"no idle node: {said}\n{logs}")


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
