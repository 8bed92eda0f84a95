"""Whom listings bring attributes: a walk gets them, and who only wants names is left alone with names."""

import itertools

from unionfs.fuse.direct.listers import Listers

LISTER, OTHER = 71, 72
directories = itertools.count(100)


def list_directory(listers: Listers, pid: int, names: int = 20, looks_up: int = 0) -> bool:
    """Have `pid` list a directory it hasn't seen, then look up so many of what it got alone; whether it got all."""
    directory = next(directories)
    whole = listers.wants_attributes(pid, directory)
    alone = names
    if not whole:
        listers.gave_names(pid, directory, names)
    elif alone := int(listers.wants_sample(pid)):
        listers.gave_sample(pid, directory)
    for _ in range(min(looks_up, alone)):
        listers.looked_up(directory)
    return whole


def test_a_walk_always_gets_attributes_and_soon_no_more_samples() -> None:
    listers = Listers()
    assert all(list_directory(listers, LISTER, looks_up=20) for _ in range(100))
    assert not listers.wants_sample(LISTER)
    assert listers.wants_sample(OTHER)


def test_who_looks_at_nothing_gets_names_alone_after_some_directories() -> None:
    listers = Listers()
    got = [list_directory(listers, LISTER) for _ in range(100)]
    assert got == [True] * got.index(False) + [False] * (100 - got.index(False))
    assert got.index(False) < 5


def test_who_lists_a_package_and_opens_a_few_of_its_modules_wants_names() -> None:
    listers = Listers()
    for _ in range(10):
        list_directory(listers, LISTER)
    assert not any(list_directory(listers, LISTER, looks_up=5) for _ in range(20))


def test_who_begins_to_look_is_believed_after_a_directory() -> None:
    listers = Listers()
    for _ in range(100):
        list_directory(listers, LISTER)
    assert [list_directory(listers, LISTER, looks_up=20) for _ in range(3)] == [False, True, True]


def test_a_walk_that_goes_down_before_it_looks_at_files_gets_attributes() -> None:
    listers = Listers()
    for _ in range(5):
        chain = [next(directories) for _ in range(3)]
        for directory in chain:
            assert listers.wants_attributes(LISTER, directory)
            listers.gave_sample(LISTER, directory)
        for directory in reversed(chain):
            listers.looked_up(directory)


def test_a_new_one_is_taken_for_what_others_were_who_listed_the_directory() -> None:
    listers = Listers()
    for _ in range(10):
        list_directory(listers, LISTER)
    listed = next(directories)
    listers.gave_names(LISTER, listed, 20)
    assert not listers.wants_attributes(OTHER, listed)
    assert listers.wants_attributes(OTHER, next(directories))
    listers.gave_names(OTHER, listed, 20)
    for _ in range(20):
        listers.looked_up(listed)
    assert listers.wants_attributes(OTHER, next(directories))


def test_only_the_latest_are_remembered() -> None:
    listers = Listers()
    for _ in range(10):
        list_directory(listers, LISTER)
    assert not listers.wants_attributes(LISTER, next(directories))
    for pid in range(10_000, 15_000):
        list_directory(listers, pid)
    assert listers.wants_attributes(LISTER, next(directories))
    assert len(listers._listers) == len(listers._directories) < 5_000


def test_how_often_a_directory_was_listed_to_its_end_is_known() -> None:
    listers = Listers()
    assert [listers.came_to_end(100), listers.came_to_end(100), listers.came_to_end(101)] == [1, 2, 1]
