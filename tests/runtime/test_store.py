"""runtime.container.store: names, locks, and what a crash leaves."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from runtime.container.config import Config, Tmpfs, Volume
from runtime.container.kill import end
from runtime.container.record import Container, finish
from runtime.container.store import Store
from runtime.errors import Refusal
from runtime.places import Places
from runtime.trees import remove_tree
from unionfs.linux.process import start_ticks


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Places(str(tmp_path / "root"), str(tmp_path / "run")))
    store.prepare()
    return store


def config(container: Container, name: str, *, auto_remove: bool = False) -> Config:
    return Config(
        id=container.id,
        name=name,
        created_s=1.0,
        image="x",
        layers=["/l\udcff"],
        nested=False,
        args=["true"],
        hostname="h",
        env=["A=b"],
        user="",
        workdir="/",
        interactive=False,
        tty=False,
        auto_remove=auto_remove,
        network="none",
        volumes=[Volume("/a", "/b", True)],
        tmpfs=[Tmpfs("/t", {"size": "1m"}, ["ro"])],
    )


def new(store: Store, name: str) -> tuple[Container, int]:
    container, lock = store.reserve()
    store.create(container, name)
    return container, lock


def make(store: Store, name: str, status: str, *, auto_remove: bool = False) -> tuple[Container, int]:
    container, lock = new(store, name)
    container.write_config(config(container, name, auto_remove=auto_remove))
    container.write_state(status=status, exit_code=0, error="", started_s=1.0)
    return container, lock


def test_a_configuration_comes_back_as_it_was(store: Store) -> None:
    container, _ = make(store, "one", "running")
    assert container.config() == config(container, "one")


def test_a_name_is_refused_while_its_container_exists(store: Store) -> None:
    container, _ = make(store, "one", "running")
    with pytest.raises(Refusal, match="already in use"):
        new(store, "one")
    container.remove()
    new(store, "one")


def test_one_of_many_gets_the_name(store: Store) -> None:
    won: list[Container] = []

    def claim() -> None:
        try:
            won.append(new(store, "one")[0])
        except Refusal:
            return

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_locked_container_is_refused_and_left_alone(store: Store) -> None:
    container, lock = make(store, "one", "running", auto_remove=True)
    with pytest.raises(Refusal, match="is running"):
        store.take(container)
    store.sweep()
    assert container.exists()
    os.close(lock)
    os.close(store.take(container))


def test_an_ambiguous_beginning_is_refused(store: Store) -> None:
    found = {make(store, "", "exited")[0].id[0] for _ in range(17)}
    beginning = next(c for c in found if sum(x.id.startswith(c) for x in store.all()) > 1)
    with pytest.raises(Refusal, match="more than one"):
        store.find(beginning)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("status", "auto_remove"), [("creating", False), ("running", True)])
def test_sweep_removes_what_was_not_to_stay(store: Store, status: str, auto_remove: bool, restarted: bool) -> None:
    container, lock = make(store, "one", status, auto_remove=auto_remove)
    crash(store, lock, restarted)
    store.sweep()
    assert not os.path.exists(container.directory)
    assert not os.path.exists(container.run_directory)


@pytest.mark.parametrize("restarted", [False, True])
def test_sweep_keeps_what_was_to_stay(store: Store, restarted: bool) -> None:
    container, lock = make(store, "one", "running")
    crash(store, lock, restarted)
    store.sweep()
    assert (container.state()["status"], container.state()["exit_code"]) == ("exited", 137)
    assert not os.path.exists(container.run_directory)
    assert store.find("one").id == container.id


def test_sweep_removes_what_was_never_finished(store: Store) -> None:
    container, lock = new(store, "one")
    crash(store, lock, restarted=False)
    store.sweep()
    assert not os.path.exists(container.directory)
    assert os.listdir(f"{store.places.root}/names") == []


def test_finish_keeps_the_status(store: Store) -> None:
    container, lock = make(store, "one", "running")
    finish(container, 5, "why")
    os.close(lock)
    assert (container.state()["exit_code"], container.state()["error"]) == (5, "why")


def crash(store: Store, lock: int, restarted: bool) -> None:
    """All processes die; if `restarted`, what doesn't outlive the machine's restart is gone too."""
    os.close(lock)
    if restarted:
        remove_tree(store.places.runroot)


def test_one_that_is_being_started_is_ended_as_soon_as_it_runs(store: Store) -> None:
    container, lock = make(store, "one", "created")
    ending = threading.Thread(target=end, args=(container,))
    ending.start()
    with subprocess.Popen(["sleep", "1000"]) as process:
        container.write_state(pid=process.pid, pid_ticks=start_ticks(process.pid))
        assert process.wait(30) == -signal.SIGKILL
    assert ending.is_alive(), "its end is yet to be recorded"
    os.close(lock)
    ending.join(30)
    assert not ending.is_alive()


def test_a_lock_is_had_while_its_last_holder_leaves(store: Store) -> None:
    container, lock = make(store, "one", "created")
    os.close(lock)
    failed: list[OSError] = []

    def come_and_go() -> None:
        for _ in range(100):
            try:
                lock = store.take(container)
                container.release()
                os.close(lock)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_changes_of_a_configuration_do_not_undo_one_another(store: Store) -> None:
    container, lock = make(store, "one", "created")
    os.close(lock)

    def add(key: str) -> None:
        for _ in range(50):
            store.change(container, lambda old: old._replace(labels={**old.labels, f"{key}{len(old.labels)}": ""}))

    threads = [threading.Thread(target=add, args=(key,)) for key in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(container.config().labels) == 150
