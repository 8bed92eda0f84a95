"""Anything may go wrong at any request: what comes is whole, or nothing comes, and the next pull works."""

import contextlib
import os
import random
from pathlib import Path

import pytest

from runtime.image.errors import ImageError
from runtime.image.reference import parse_reference
from runtime.image.registry.progress import make_progress
from runtime.image.registry.pull import pull
from runtime.image.registry.registries import Access, Registries
from runtime.image.registry.transport import Patience
from tests.registry.client import Client
from tests.registry.misbehaving import Handler, running
from tests.support import needs

pytestmark = needs.root

USUAL = Access(patience=Patience(first_wait_s=0.01))
IN_HASTE = Access(patience=Patience(attempts=4, first_wait_s=0.001, stall_s=0.2))
SEEDS = range(int(os.environ.get("PYUNION_CHAOS_SEEDS", "12")))


def something(handler: Handler, chance: random.Random) -> None:
    """Half of the time what should be, else one of many things that should not."""
    data = handler.server.contents[handler.path][1]
    evil = bytes([data[0] ^ 1]) + data[1:]
    acts = [
        lambda: handler.cut(chance.randrange(len(data) + 1)),
        lambda: handler.error(chance.choice([401, 403, 404, 416, 429, 500, 503]), "CHAOS"),
        lambda: handler.answer(200, data[: chance.randrange(len(data))]),
        lambda: handler.answer(206, data[5:], Content_Range=f"bytes 5-{len(data) - 1}/{len(data)}"),
        lambda: handler.answer(200, evil, Content_Type=handler.server.contents[handler.path][0]),
        lambda: handler.answer(307, Location=chance.choice([handler.path, "/v2/", "nowhere:", "http://127.0.0.1:1/"])),
        lambda: handler.server.ending.wait(0.4),
        lambda: handler.wfile.write(b"HTTP/1.1 abc\r\n\r\n"),
    ]
    act = chance.choice(acts) if chance.random() < 0.5 else handler.behave
    act()
    if act is not handler.behave:
        handler.close_connection = True


@pytest.mark.parametrize("seed", SEEDS)
def test_chaos(client: Client, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(client.configuration))
    monkeypatch.setenv("HOME", str(client.home))
    chance = random.Random(seed)
    with running() as server:
        server.when("GET", "/(blobs|manifests)/", lambda handler: something(handler, chance))
        reference = parse_reference(f"{server.host}/t/image:1")
        for _ in range(4):
            with contextlib.suppress(ImageError):
                pull(client.store, Registries(IN_HASTE), reference, make_progress(quiet=True))
            assert len(client.store.images()) <= 1
            for image in client.store.images():
                assert client.files(image) == {"file0", "file1"}
        server.rules.clear()
        image = pull(client.store, Registries(USUAL), reference, make_progress(quiet=True))
        assert client.files(image) == {"file0", "file1"}
        assert list(Path(client.places.root, "partial").iterdir()) == []
