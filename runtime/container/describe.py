"""All about a container, in Docker's words, for `inspect`."""

import os
from typing import Any

from runtime.container.config import Config
from runtime.container.logfile import timestamp
from runtime.container.record import RUNNING, Container

_NEVER = "0001-01-01T00:00:00Z"


def status_of(container: Container, state: dict[str, Any]) -> str:
    """created, running, paused, restarting or exited."""
    status = str(state["status"])
    if status == "running" and os.path.exists(f"{container.run_directory}/paused"):
        return "paused"
    return "created" if status == "creating" else status


def describe_container(container: Container) -> dict[str, Any]:
    """Raises FileNotFoundError: it is gone."""
    config, state = container.config(), container.state()
    program, *args = config.args
    return {
        "Id": config.id,
        "Created": timestamp(int(config.created_s * 1e9)),
        "Path": program,
        "Args": args,
        "State": _state(container, state),
        "Image": config.image_id,
        "ResolvConfPath": "",
        "LogPath": container.log,
        "Name": f"/{config.name}",
        "RestartCount": max(0, state.get("restarts", 0)),
        "Driver": "pyunion",
        "Platform": "linux",
        "ExecIDs": None,
        "HostConfig": _host_config(config),
        "GraphDriver": {
            "Name": "pyunion",
            "Data": {
                "LowerDir": ":".join(config.layers), "UpperDir": container.upper, "WorkDir": container.workdir
            },
        },
        "Mounts": _mounts(config),
        "Config": _config(config),
        "NetworkSettings": _network(container, config),
    }  # fmt: skip


def _state(container: Container, state: dict[str, Any]) -> dict[str, Any]:
    status = status_of(container, state)
    return {
        "Status": status,
        "Running": status in (*RUNNING, "paused"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": bool(state.get("oom_killed")),
        "Dead": False,
        "Pid": state["pid"] if state["status"] == "running" else 0,
        "ExitCode": state.get("exit_code", 0),
        "Error": state.get("error", ""),
        "StartedAt": _moment(state.get("started_s")),
        "FinishedAt": _moment(state.get("finished_s")),
        **({"Health": _health(state["health"])} if "health" in state else {}),
    }


def _health(health: dict[str, Any]) -> dict[str, Any]:
    results = [{**result, **{key: timestamp(result[key]) for key in ("Start", "End")}} for result in health["log"]]
    return {"Status": health["status"], "FailingStreak": health["streak"], "Log": results}


def _moment(seconds: float | None) -> str:
    return _NEVER if seconds is None else timestamp(int(seconds * 1e9))


def _host_config(config: Config) -> dict[str, Any]:
    policy, _, count = config.restart.partition(":")
    return {
        "Binds": [
            f"{volume.name or volume.source}:{volume.target}{':ro' if volume.read_only else ''}"
            for volume in config.volumes
            if not volume.image
        ],
        "AutoRemove": config.auto_remove,
        "NetworkMode": config.network,
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(count or 0)},
        "LogConfig": {"Type": config.log.get("driver", "json-file"), "Config": _log_options(config)},
        "IpcMode": config.namespaces.get("ipc", "private"),
        "PidMode": config.namespaces.get("pid", ""),
        "UTSMode": config.namespaces.get("uts", ""),
        "UsernsMode": config.namespaces.get("user", ""),
        "IDMappings": _maps(config),
        "CgroupnsMode": config.namespaces.get("cgroup", "private"),
        "Annotations": config.annotations,
        "PidFile": config.pidfile,
        "Privileged": config.privileged,
        "ReadonlyRootfs": config.read_only,
        "GroupAdd": config.groups,
        "ShmSize": config.shm_bytes,
        "Sysctls": config.sysctls,
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in sorted(config.ulimits.items())
        ],
        "OomScoreAdj": config.oom_score_adj or 0,
        "Tmpfs": {tmpfs.target: ",".join(tmpfs.flags) for tmpfs in config.tmpfs},
        **_limits(config.limits),
        "PortBindings": _bindings(config),
        "CapAdd": config.security.get("cap_add", []),
        "CapDrop": config.security.get("cap_drop", []),
        "Limits": config.limits,
        "Security": config.security,
    }


def _limits(limits: dict[str, Any]) -> dict[str, Any]:
    """As Docker calls them; 0 and nothing where none was asked for."""
    quota_us, period_us = limits.get("cpu_quota_us", 0), limits.get("cpu_period_us", 0)
    return {
        "Memory": limits.get("memory", 0),
        "MemorySwap": limits.get("memory_swap", 0),
        "MemoryReservation": limits.get("memory_reservation", 0),
        "NanoCpus": quota_us * 10**9 // period_us if quota_us > 0 and period_us else 0,
        "CpuShares": limits.get("cpu_shares", 0),
        "CpuQuota": quota_us,
        "CpuPeriod": period_us,
        "CpusetCpus": limits.get("cpuset_cpus", ""),
        "PidsLimit": limits.get("pids_limit", 0),
    }


def _bindings(config: Config) -> dict[str, list[dict[str, str]]]:
    """The ports that are to be published, each with where; nothing: that is chosen at the start."""
    from runtime.network import wanted

    found: dict[str, list[dict[str, str]]] = {}
    for port in wanted.read(config).ports:
        where = {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
        found.setdefault(f"{port.port}/{port.protocol}", []).append(where)
    return found


def _maps(config: Config) -> dict[str, list[str]]:
    """In podman's words."""
    if config.maps is None:
        return {}
    uids, gids = ([f"{first}:{outside}:{count}" for first, outside, count in rows] for rows in config.maps)
    return {"UidMap": uids, "GidMap": gids}


def _log_options(config: Config) -> dict[str, str]:
    names = {"max_bytes": "max-size", "max_files": "max-file"}
    return {name: str(config.log[key]) for key, name in names.items() if key in config.log}


def _mounts(config: Config) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "Type": "image" if volume.image else "volume" if volume.name else "bind",
            "Name": volume.name,
            "Source": volume.source,
            "Destination": volume.target,
            "Mode": "ro" if volume.read_only else "",
            "RW": not volume.read_only,
            "Propagation": volume.propagation,
        }
        for volume in config.volumes
    ]
    return found + [
        {"Type": "tmpfs", "Source": "", "Destination": tmpfs.target, "Mode": "", "RW": "ro" not in tmpfs.flags}
        for tmpfs in config.tmpfs
    ]


def _config(config: Config) -> dict[str, Any]:
    return {
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "User": config.user,
        "Tty": config.tty,
        "OpenStdin": config.interactive,
        "Env": config.env,
        "Cmd": config.args[config.entrypoint :],
        "Entrypoint": config.args[: config.entrypoint] or None,
        "Image": config.image,
        "Volumes": {path: {} for path in config.image_volumes} or None,
        "WorkingDir": config.workdir,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "Umask": f"{config.umask:04o}",
        "StopTimeout": config.stop_timeout_s,
        "Healthcheck": config.health or None,
        "ExposedPorts": {port: {} for port in config.ports},
    }


def _network(container: Container, config: Config) -> dict[str, Any]:
    """Its addresses and ports."""
    from runtime.container.network import is_ours
    from runtime.network import wanted
    from runtime.network.describe import settings

    networks = [one.network for one in wanted.read(config).attachments] if is_ours(config) else []
    return settings(container.places, container.id, networks)
