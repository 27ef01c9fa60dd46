"""A real Slurm on one machine: slurmctld, and a slurmd for each of several "hosts".

A host is a set of namespaces (network, hostname, processes, mounts) with an address on a bridge of its own, so that
ranks of two hosts meet over TCP and a host can be unplugged or lose its power. The file system is shared, as a
cluster's home folder is. All files of a cluster lie in one folder; several clusters can be up at the same time.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "ip", "unshare", "nsenter", "setpriv")
PACKAGES = "munge slurmctld slurmd slurm-client iproute2 util-linux"

CONF = """\
ClusterName=tutelage
SlurmctldHost={controller}({net}.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued job is held back until its credential has expired, usually two minutes
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
JobRequeue=1
# jobs of a partition with a higher PriorityTier take nodes; who has them hears of it GraceTime seconds ahead
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
MessageTimeout=10
TCPTimeout=2
KillWait=15
CompleteWait=0
MinJobAge=86400
UnkillableStepTimeout=60
"""

INIT = """\
hostname {name}
mount --bind {folder}/hosts /etc/hosts
mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
until ip addr show dev eth0 2>/dev/null | grep -q 'inet '; do sleep 0.05; done
slurmd -N {name}
while :; do wait; sleep 1; done
"""


def missing() -> str | None:
    """The reason why no cluster can be started here, or None."""
    if os.geteuid():
        return "needs root, for namespaces and slurmctld"
    if absent := [name for name in NEEDED if not shutil.which(name)]:
        return f"needs {', '.join(absent)} (apt-get install {PACKAGES})"
    if subprocess.run(["unshare", "--net", "--pid", "--mount", "--fork", "true"], capture_output=True).returncode:
        return "needs a machine that allows namespaces (unshare)"
    return None


class Cluster:
    """A running Slurm; see :func:`running`.

    Args:
        folder: for its files; other users must be able to enter it.
        names: of its hosts.
        cpus: that each host claims to have.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], cpus: int = 8) -> None:
        self.folder, self.names = folder, names
        number = _free_bridge()
        self.net, self.bridge = f"10.{number}.0", f"tutelage{number}"
        self.env = os.environ | {"SLURM_CONF": f"{folder}/slurm.conf", "MUNGE_SOCKET": f"{folder}/munge.socket"}
        controller = os.uname().nodename.partition(".")[0]
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for name in ("state", *(f"spool-{name}" for name in names)):
            (folder / name).mkdir(exist_ok=True)
        hosts = [("127.0.0.1", "localhost"), (f"{self.net}.1", controller)]
        hosts += [(self._address(name), name) for name in names]
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for address, name in hosts))
        (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        conf = CONF.format(folder=folder, net=self.net, controller=controller, port=6800 + number)
        for name in names:
            conf += f"NodeName={name} NodeAddr={self._address(name)} CPUs={cpus} RealMemory=8000\n"
        conf += f"PartitionName=all Nodes={','.join(names)} Default=YES MaxTime=INFINITE State=UP GraceTime=60\n"
        conf += f"PartitionName=urgent Nodes={','.join(names)} MaxTime=INFINITE State=UP PriorityTier=10\n"
        (folder / "slurm.conf").write_text(conf)
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._hosts: dict[str, subprocess.Popen[bytes]] = {}

    def _address(self, name: str) -> str:
        return f"{self.net}.{10 + self.names.index(name)}"

    def _port(self, name: str) -> str:
        return f"{self.bridge}p{self.names.index(name)}"

    def start(self) -> None:
        key, log = self.folder / "munge.key", self.folder / "munged.log"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        options = {"key-file": key, "socket": f"{self.folder}/munge.socket", "pid-file": f"{self.folder}/munged.pid"}
        options |= {"log-file": log, "seed-file": f"{self.folder}/munged.seed"}
        munged = ("munged", "--foreground", *(f"--{name}={value}" for name, value in options.items()))
        self._daemons.append(self._start(*munged))
        self.run("ip", "addr", "add", f"{self.net}.1/24", "dev", self.bridge)
        self.run("ip", "link", "set", self.bridge, "up")
        while not (self.folder / "munge.socket").exists():
            time.sleep(0.02)
        self._daemons.append(self._start("slurmctld", "-D", "-c"))
        for name in self.names:
            self.power_on(name)
        self.until_idle()

    def power_on(self, name: str) -> None:
        """Start a host and its slurmd, if it is off."""
        if name in self._hosts:
            return
        (self.folder / f"slurmd-{name}.pid").unlink(missing_ok=True)
        script = INIT.format(name=name, folder=self.folder)
        # the namespaces end with unshare's child, which is process 1 of the host
        call = ("unshare", "--net", "--uts", "--ipc", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
        host = self._start(*call, "bash", "-c", script)
        self._hosts[name] = host
        init = _child(host.pid)
        port, link = self._port(name), ("type", "veth", "peer", "name", "eth0")
        self.run("ip", "link", "add", port, *link, "netns", str(init))
        self.run("ip", "link", "set", port, "master", self.bridge, "up")
        inside = ("nsenter", f"--net=/proc/{init}/ns/net", "ip")
        self.run(*inside, "link", "set", "eth0", "up")
        self.run(*inside, "addr", "add", f"{self._address(name)}/24", "dev", "eth0")

    def power_off(self, name: str, *, unplug: bool = True) -> None:
        """End a host and all of its processes at once.

        Args:
            unplug: take it off the network first, so that no peer is notified, as when power fails; else its
                connections are closed, as when a kernel ends it.
        """
        if unplug:
            self.unplug(name)
        host = self._hosts.pop(name)
        os.kill(_child(host.pid), signal.SIGKILL)
        host.wait()
        self.run("ip", "link", "del", self._port(name), check=False)  # the kernel would do so only later

    def unplug(self, name: str) -> None:
        """Take a host off the network. Its processes continue, with the shared files, as if these had a network of
        their own; :meth:`power_off` ends it."""
        self.run("ip", "link", "del", self._port(name))

    def stop(self) -> None:
        for name in list(self._hosts):
            self.power_off(name, unplug=False)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait()
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)

    def _start(self, *call: str) -> subprocess.Popen[bytes]:
        """Start a daemon that ends with this process, however that ends."""
        with (self.folder / "daemons.log").open("ab") as log:
            call = ("setpriv", "--pdeathsig", "KILL", *call)
            out = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            return subprocess.Popen(call, env=self.env, start_new_session=True, **out)  # type: ignore[call-overload]

    def run(self, *call: str, check: bool = True, cwd: Path | None = None, extra_env: Mapping[str, str] = {}) -> str:
        """Run a command outside the hosts, as on a login node; return its output, errors included.

        Args:
            extra_env: environment variables in addition to the cluster's.
        """
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.run(call, env={**self.env, **extra_env}, cwd=cwd, text=True, **out)  # type: ignore[call-overload]
        assert not check or process.returncode == 0, f"{' '.join(call)}: {process.stdout}"
        return process.stdout.strip()

    def until_idle(self, limit: float = 60) -> None:
        """Wait until all hosts that are on are idle."""
        deadline = time.monotonic() + limit
        while sorted(self.run("sinfo", "-hN", "-p", "all", "-t", "idle", "-o", "%N").split()) != sorted(self._hosts):
            assert time.monotonic() < deadline, self.run("sinfo", "-lN")
            time.sleep(0.2)

    def state(self, job: str) -> str:
        """A job's state in Slurm's words, such as RUNNING."""
        return self.field(job, "JobState")

    def field(self, job: str, name: str) -> str:
        output = self.run("scontrol", "show", "job", "--oneliner", job)
        return next(word.partition("=")[2] for word in output.split() if word.startswith(f"{name}="))

    def until(self, job: str, *states: str, limit: float = 240) -> str:
        """Wait until a job is in one of these states."""
        deadline = time.monotonic() + limit
        while (state := self.state(job)) not in states:
            assert time.monotonic() < deadline, f"job {job} is {state}, not {' or '.join(states)}"
            time.sleep(0.3)
        return state

    def ended(self, job: str, limit: float = 240) -> str:
        """Wait until a job will not run any more, and return its state."""
        ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY")
        return self.until(job, *ends, limit=limit)


def _free_bridge() -> int:
    """Create the bridge ``tutelageN`` for the first N that no other cluster uses, and return N."""
    for number in range(71, 100):
        process = subprocess.run(["ip", "link", "add", f"tutelage{number}", "type", "bridge"], capture_output=True)
        if not process.returncode:
            return number
    raise OSError("no bridge could be made for a cluster (ip link add)")


def _child(pid: int) -> int:
    """The child process of unshare, which is process 1 of its host; waits until it exists."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while not (pids := children.read_text().split()):
        time.sleep(0.02)
    return int(pids[0])


@contextmanager
def running(folder: Path, hosts: int, environment: Mapping[str, str]) -> Iterator[Cluster]:
    """A running cluster of ``hosts`` hosts, until the block ends."""
    cluster = Cluster(folder, tuple(f"node{number + 1}" for number in range(hosts)))
    cluster.env |= environment
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
