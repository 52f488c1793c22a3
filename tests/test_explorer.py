"""The explorer: what it refuses, what its views say, and the page in a real browser."""

from __future__ import annotations

import io
import json
import random
import shutil
import socket
import threading
import time
import wave
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from explorer_runs import EVIL, RECIPES, coded, framed, layered, make

from fusevae import Artifact, reconstruct
from fusevae.cli import main
from fusevae.evaluation.inside_latents import partly_drawn
from fusevae.evaluation.latent_space import Plane, flat_map
from fusevae.evaluation.reading import decode, read
from fusevae.training.run import Run
from fusevae.training.so_far import SoFar

pytest.importorskip("starlette", reason="needs starlette: pip install 'fusevae[explorer]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'fusevae[explorer]'")
pytest.importorskip("httpx", reason="needs httpx, with which starlette tests")

from starlette.testclient import TestClient

from fusevae.explorer import guard, serve
from fusevae.explorer.application import make as application
from fusevae.explorer.known import Records, Runs
from fusevae.explorer.points import _told
from fusevae.explorer.turns import Turns

HOME = "http://127.0.0.1:8000"
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("explorer")


@pytest.fixture(scope="module")
def runs(folder):
    """A tiny run of each kind of data."""
    return [make(kind, folder) for kind in RECIPES] + [coded(folder), layered(folder)]


@pytest.fixture(scope="module")
def known(runs):
    return Runs([str(path) for path in runs])


@pytest.fixture(scope="module")
def client(known):
    return TestClient(application(known), base_url=HOME)


def ask(client, view, **request):
    answer = client.post(f"/api/{view}", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def points(client, run):
    """All of a map, once they have come."""
    for _ in range(400):
        found = ask(client, "points", run=run)
        if found["have"] == found["total"]:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{found['have']} of {found['total']} points came")


JSON = {"content-type": "application/json"}
BODY = json.dumps({"run": "images"})
ATTACKS = {
    "a name bound to this machine": ("POST", "/api/about", BODY, JSON | {"host": "evil.example:8000"}, 421),
    "such a name for the page": ("GET", "/", "", {"host": "evil.example"}, 421),
    "a name that begins like ours": ("GET", "/", "", {"host": "127.0.0.1.evil.example:8000"}, 421),
    "a user in the host": ("GET", "/", "", {"host": "127.0.0.1:8000@evil.example"}, 421),
    "another port": ("GET", "/", "", {"host": "127.0.0.1:9000"}, 421),
    "another page": ("POST", "/api/about", BODY, JSON | {"origin": "http://evil.example"}, 403),
    "a page without origin": ("POST", "/api/about", BODY, JSON | {"origin": "null"}, 403),
    "another port's page": ("POST", "/api/about", BODY, JSON | {"origin": "http://127.0.0.1:9000"}, 403),
    "another site": ("POST", "/api/about", BODY, JSON | {"sec-fetch-site": "cross-site"}, 403),
    "another site's script": ("GET", "/static/main.js", "", {"sec-fetch-site": "cross-site"}, 403),
    "a form's text": ("POST", "/api/about", BODY, {"content-type": "text/plain"}, 415),
    "a form": ("POST", "/api/about", "run=images", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "a form's file": ("POST", "/api/file", b"x", {"content-type": "multipart/form-data; boundary=x"}, 415),
    "up from the page's files": ("GET", "/static/..%2fviews.py", "", {}, 404),
    "up twice encoded": ("GET", "/static/%252e%252e%252f%252e%252e%252fetc%252fpasswd", "", {}, 404),
    "an absolute path": ("GET", "/static/%2fetc%2fpasswd", "", {}, 404),
    "a run elsewhere": ("POST", "/api/about", '{"run": "../../etc"}', JSON, 422),
    "a run by its path": ("POST", "/api/about", '{"run": "/etc"}', JSON, 422),
    "reading by GET": ("GET", "/api/about?run=images", "", {}, 405),
    "writing": ("PUT", "/static/main.js", "x", {}, 405),
    "deleting": ("DELETE", "/api/runs", "", {}, 405),
    "a view that is none": ("POST", "/api/__class__", BODY, JSON, 404),
    "too much": ("POST", "/api/about", " " * 2**20 + BODY, JSON, 413),
    "too much is said": ("POST", "/api/about", BODY, JSON | {"content-length": "99999999999"}, 413),
    "a length that is none": ("POST", "/api/about", BODY, JSON | {"content-length": "-1"}, 413),
    "too large a file": ("POST", "/api/file", b"x" * (2**23 + 1), {"content-type": "application/octet-stream"}, 413),
    "too deep": ("POST", "/api/about", "[" * 100_000, JSON, 422),
    "no JSON": ("POST", "/api/about", "{", JSON, 422),
    "more than is asked": ("POST", "/api/about", '{"run": "images", "trust": ["os"]}', JSON, 422),
    "a number that is none": ("POST", "/api/decode", '{"run": "images", "z": [NaN, 1, 2]}', JSON, 422),
    "too many samples": ("POST", "/api/samples", '{"run": "images", "n": 1000000}', JSON, 422),
    "a latent of another size": ("POST", "/api/decode", '{"run": "images", "z": [1]}', JSON, 422),
    "a point that isn't": ("POST", "/api/example", '{"run": "images", "point": 60}', JSON, 422),
    "a point below": ("POST", "/api/example", '{"run": "images", "point": -1}', JSON, 422),
    "a pixel that isn't": ("POST", "/api/fill", '{"run": "images", "point": 0, "missing": [64]}', JSON, 422),
    "a pixel below": ("POST", "/api/fill", '{"run": "images", "point": 0, "missing": [-1]}', JSON, 422),
    "nothing missing": ("POST", "/api/fill", '{"run": "images", "point": 0, "missing": []}', JSON, 422),
    "too many draws": ("POST", "/api/fill", '{"run": "images", "point": 0, "missing": [1], "n": 1000}', JSON, 422),
    "text to be painted": ("POST", "/api/canvas", '{"run": "text", "point": 0}', JSON, 422),
    "levels that aren't": ("POST", "/api/levels", '{"run": "images", "point": 0}', JSON, 422),
    "codes that aren't": ("POST", "/api/codes", '{"run": "images", "point": 0}', JSON, 422),
    "a code too large": ("POST", "/api/codes", '{"run": "coded", "point": 0, "codes": [9, 9, 9, 9]}', JSON, 422),
    "a code for none": ("POST", "/api/codes", '{"run": "coded", "point": 0, "codes": [-1, -1, -1, -1]}', JSON, 422),
    "codes of another size": ("POST", "/api/codes", '{"run": "coded", "point": 0, "codes": [1]}', JSON, 422),
    "a column that isn't": ("POST", "/api/column", '{"run": "images", "column": "__dict__"}', JSON, 422),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_in_a_line(client, name):
    method, path, body, headers, status = ATTACKS[name]
    answer = client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status
    assert "\n" not in answer.json()["error"] and "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_of_two_origins_both_have_to_be_ours(client):
    ours, theirs = ("origin", HOME), ("origin", "http://evil.example")
    for given in ([ours, theirs], [theirs, ours]):
        answer = client.post("/api/about", content=BODY, headers=[*JSON.items(), *given])
        assert answer.status_code == 403


@pytest.mark.parametrize("name", ["x", "x.pkl/../../y", "..", "/etc/passwd", "x.tar.gz.", "x.npz", "a.csv"])
def test_a_file_of_a_stranger_is_refused_in_a_line(client, name, tmp_path):
    headers = {"content-type": "application/octet-stream", "x-run": "images", "x-name": name}
    answer = client.post("/api/file", content=b"cos\nsystem\n(S'touch hacked'\ntR.", headers=headers)
    assert answer.status_code == 422
    assert "/tmp" not in answer.text and "fusevae-" not in answer.text


def test_a_small_file_that_is_large_in_memory_is_refused_by_its_size(client):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (2**22, 1, 20, 24)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(2**20))
    headers = {"content-type": "application/octet-stream", "x-run": "images", "x-name": "mine.npz"}
    answer = client.post("/api/file", content=file.getvalue(), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"] == "mine.npz unpacks to 2.01 GB: expected one example, at most 0.27 GB"


def test_molecules_can_be_saved_as_smiles(client):
    picture, smiles = ask(client, "samples", run="molecules", n=3, seed=4)["parts"]
    assert "png" in picture and smiles["drawn"] and smiles["names"] == ["smiles"] and len(smiles["rows"]) == 3


def test_what_is_said_of_a_file_stands_beside_it(client):
    headers = {"content-type": "application/octet-stream", "x-run": "text", "x-name": "mine.txt"}
    facts = client.post("/api/file", content=b"a plain line\n\nanother\n", headers=headers).json()["facts"]
    assert [text for what, text in facts if what == "note"] == [
        "this is the first of the 2 examples in the file",
        "mine.txt: left out 1 empty texts of 3, first mine.txt: line 2",
    ]
    facts = ask(client, "own", run="molecules", texts=["hello"])["facts"]
    assert facts[0][0] == "note" and "are unknown to the vocabulary" in facts[0][1]
    headers["x-run"] = "molecules"
    facts = client.post("/api/file", content=b"CCO\nC(\n", headers=headers).json()["facts"]
    assert [text for what, text in facts if what == "note"] == [
        "mine.txt: left out 1 strings that are no molecules of 2, first mine.txt: line 2"
    ]


def test_elsewhere_a_token_is_needed(known):
    far = TestClient(application(known, "0.0.0.0", 8000, "secret"), base_url=HOME, follow_redirects=False)
    assert far.get("/").status_code == far.get("/?token=wrong").status_code == far.get("/api/runs").status_code == 401
    assert far.get("/api/runs", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert far.get("/api/runs", headers={"authorization": "Bearer secret"}).status_code == 200
    assert far.get("/", headers={"host": "evil.example:8000", "authorization": "Bearer secret"}).status_code == 421
    assert far.get("/", headers={"host": "192.168.0.7:8000", "authorization": "Bearer secret"}).status_code == 200
    shown = far.get("/?token=secret")
    assert shown.status_code == 303 and shown.headers["location"] == "/"
    assert "HttpOnly" in shown.headers["set-cookie"] and "SameSite" in shown.headers["set-cookie"]
    assert far.get("/api/runs").status_code == 200  # by the cookie


def test_only_this_machine_is_listened_to_without_a_token(known):
    for host, safe in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        _, listening, address = serve.server(known, host, 0)
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # no answer waits for 40 ms
        listening.close()
        assert ("token=" not in address) == safe


@contextmanager
def served(known):
    server, listening, address = serve.server(known, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def test_whoever_is_slow_is_sent_away(known, monkeypatch):
    monkeypatch.setattr(serve, "HEADERS_IN", 0.3)
    monkeypatch.setattr(guard, "SLOWEST", 0.3)
    with served(known) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        head = f"POST /api/about HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n".encode()
        whole = b"content-type: application/json\r\ncontent-length: 50\r\n\r\n{"
        for sent, says in ((b"", b""), (head, b""), (head + whole, b"408")):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
                slow.sendall(sent)
                said = slow.recv(1000)
                assert says in said and bool(said) == bool(says)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as long:
            long.sendall(head + b"x: " + b"y" * 100_000)
            with suppress(ConnectionResetError):
                assert b"200" not in long.recv(100)


def test_the_policy_of_the_page_lets_no_markup_run(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "<script>" not in page.text and "http" not in page.text  # nothing from elsewhere


def test_a_map_is_of_the_latents(client, runs):
    found = points(client, "images")
    artifact, data = Run.open(runs[0]).artifact, Run.open(runs[0]).data
    assert found["total"] == 60 and {"label", "set", "log-likelihood", "z 0"} <= set(found["columns"])
    values = ask(client, "column", run="images", column="label")
    assert EVIL in values["names"]
    example = ask(client, "example", run="images", point=0)
    facts = dict(example["facts"])
    rows = {"training": data.train, "validation": data.validation, "test": data.test}[facts["set"]]
    at = rows.rows().tolist().index(int(facts["row"].replace(",", "")))
    z = read(artifact, rows.subset(torch.tensor([at]))).z
    assert ask(client, "latent", run="images", point=0)["z"] == pytest.approx(z.flatten().tolist(), abs=1e-5)
    label = rows.batch(torch.tensor([at]))[1]
    whole = ask(client, "decode", run="images", z=z.flatten().tolist(), like=0)
    with_label = ask(client, "decode", run="images", z=z.flatten().tolist(), given={"label": facts["label"]})
    assert whole["parts"] == with_label["parts"]
    assert torch.equal(decode(artifact, z, label), reconstruct(artifact, rows.subset(torch.tensor([at]))))


@pytest.mark.parametrize("kind", RECIPES)
def test_each_view_answers_for_each_kind_of_data(client, kind):
    first = points(client, kind)
    assert ask(client, "about", run=kind)["latents"]
    z = [ask(client, "latent", run=kind, point=p)["z"] for p in (0, 1, 2)]
    place = ask(client, "place", run=kind, x=0.3, y=-0.2, through=1)
    assert place["point"] == pytest.approx([0.3, -0.2], abs=1e-3)  # what is decoded is that very place
    assert place["parts"] and len(place["z"]) == 3
    path = ask(client, "path", run=kind, through=z, steps=3, like=0)
    assert len(path["frames"]) == 5
    if kind != "sound":  # whose phases are drawn, of a batch at a time
        assert path["frames"][0] == ask(client, "decode", run=kind, z=z[0], like=0)["parts"]
    near = ask(client, "near", run=kind, point=0, k=3)
    assert 0 not in near["points"] and near["distances"] == sorted(near["distances"])
    once, again = (ask(client, "samples", run=kind, n=2, seed=4) for _ in range(2))
    assert once["parts"] and (once == again or kind == "sound")  # Griffin-Lim's FFT is not the same to the last bit
    beside = ask(client, "beside", run=kind, point=1, other=kind)
    assert [model["name"] for model in beside["models"]] == [kind, kind] and beside["models"][0]["facts"]
    column = next(name for name in first["columns"] if name not in ("set", "log-likelihood", "untypical"))
    ask(client, "column", run=kind, column=column)
    curves = ask(client, "curves", run=kind)
    assert curves["verdict"] and curves["train"]["step"]


def test_an_example_of_ones_own_is_placed_and_scored(client, folder):
    points(client, "text"), points(client, "table")
    text = ask(client, "own", run="text", texts=["a plain line 3"])
    assert text["given"][0]["rows"] == [["a plain line 3"]] and len(text["point"]) == 2 and text["facts"]
    headers = {"content-type": "application/octet-stream", "x-run": "table", "x-name": "one.csv"}
    body = "\n".join((folder / "rows.csv").read_text().split("\n")[:2]) + "\n"
    row = client.post("/api/file", content=body.encode(), headers=headers).json()
    assert row["given"][0]["names"] == ["age", "<b>size</b>", "kind"] and row["given"][0]["rows"][0][2] == EVIL


def test_sounds_of_different_lengths_share_a_map(runs, folder):
    """Each piece had latents as long as its longest clip, which don't go together: of 501 clips there was no map."""
    sounds = Runs([str(framed(folder))])
    client, found = TestClient(application(sounds), base_url=HOME), sounds.one("framed").points
    found.piece = 3
    points(client, "framed")
    assert found.latents().z.shape == (20, *found.one.shape)
    lengths = [found.raw(torch.tensor([i]))[0].shape[-1] for i in range(20)]
    short = lengths.index(min(lengths))
    assert min(lengths) < max(lengths)
    z = ask(client, "latent", run="framed", point=short)["z"]
    assert len(ask(client, "path", run="framed", through=[z, z], steps=3)["frames"]) == 3
    assert ask(client, "near", run="framed", z=z, k=1)["points"] == [short]
    headers = {"content-type": "application/octet-stream", "x-run": "framed", "x-name": "mine.wav"}
    for clip, fits in ((folder / "clips/0_<b>.wav", True), (_longer(folder), False)):
        own = client.post("/api/file", content=clip.read_bytes(), headers=headers).json()
        assert own["given"] and own["parts"] and ("point" in own) == fits


def _longer(folder):
    """A clip that is longer than all of the model's."""
    path = folder / "longer.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(9000) * 0.1)).astype("<i2").tobytes())
    return path


def test_how_many_are_as_unusual_is_counted(client):
    far = ask(client, "own", run="text", texts=["zzz qqq " * 6])["facts"]
    assert ["likelihood", "none of 6 held-out examples is as unusual"] in far  # it was "14.3 % of 6"


def test_dates_are_in_their_order_and_what_is_missing_has_a_name():
    dates = _told(np.array(["2024-01-31", "", "2023-05-01"]))
    assert dates.names is None and dates.dates and dates.values[0] - dates.values[2] == 275
    assert np.isnan(dates.values[1]) and dates.word(dates.values[2]) == "2023-05-01"
    assert _told(np.array(["31.12.2024", "01.01.2024"])).values.tolist() == [20088, 19723]
    classes = _told(np.array(["b", "", "a"]))
    assert [classes.names[int(k)] for k in classes.values] == ["b", "(missing)", "a"] and not classes.dates
    assert _told(np.array(["12:30", "13:00"])).names == ["12:30", "13:00"]


def test_where_data_have_moved_away_ones_own_example_is_still_looked_at(runs, folder, tmp_path):
    shutil.copytree(runs[0], tmp_path / "moved")
    config = (tmp_path / "moved/config.yaml").read_text()
    (tmp_path / "moved/config.yaml").write_text(config.replace("pictures.npz", "gone.npz"))
    moved = TestClient(application(Runs([str(tmp_path / "moved")])), base_url=HOME)
    answer = moved.post("/api/points", json={"run": "moved"})
    assert answer.status_code == 422 and "--data PATH shows others" in answer.json()["error"]
    headers = {"content-type": "application/octet-stream", "x-run": "moved", "x-name": "mine.npz"}
    found = moved.post("/api/file", content=(folder / "pictures.npz").read_bytes(), headers=headers).json()
    assert found["parts"] and "z" not in found and "point" not in found
    assert "log-likelihood" in dict(found["facts"]) and "gone.npz" in found["facts"][-1][1]


def test_an_example_that_is_not_there_is_said_in_words(client):
    answer = client.post("/api/example", json={"run": "images", "point": 99})
    assert answer.json()["error"] == "there is no example 99 here: they are numbered from 0 to 59"


def test_what_is_missing_is_filled_in_and_the_rest_is_kept(client, known):
    about = {run: ask(client, "about", run=run)["fills"] for run in known.all()}
    assert about["images"] and about["table"] and not (about["text"] or about["sound"] or about["coded"])
    canvas = ask(client, "canvas", run="images", point=2)
    assert canvas["shape"] == [8, 8] and canvas["parts"][0]["png"]
    found = ask(client, "fill", run="images", point=2, missing=list(range(40, 64)), n=3)
    assert len(found["each"]) == 3 and len({each[0]["png"] for each in found["each"]}) == 3
    row = ask(client, "canvas", run="table", point=2)
    assert row["shape"] == [3] and row["parts"][0]["names"][1] == "<b>size</b>"
    found = ask(client, "fill", run="table", point=2, missing=[1], n=4)
    for draw in found["each"]:
        (cells,) = draw[0]["rows"]
        assert [cells[0], cells[2]] == [row["parts"][0]["rows"][0][k] for k in (0, 2)]


def test_a_code_that_is_changed_is_decoded(client):
    about = ask(client, "about", run="coded")
    assert about["codes"] and about["inside"] and not about["latents"]
    own = ask(client, "codes", run="coded", point=1)
    assert own["codes"] == own["own"] and own["shape"] == [2, 2] and own["vocabulary"] == 8
    changed = [(code + 3) % 8 for code in own["own"]]
    found = ask(client, "codes", run="coded", point=1, codes=changed)
    assert found["codes"] == changed and found["own"] == own["own"] and found["parts"] != own["parts"]
    assert ask(client, "codes", run="coded", point=1, codes=own["own"])["parts"] == own["parts"]


def test_levels_that_are_kept_are_those_of_the_example(client, runs):
    found = ask(client, "levels", run="layered", point=0, seed=1)
    assert found["levels"] == 2 and [row["kept"] for row in found["rows"]] == [0, 1, 2]
    again = ask(client, "levels", run="layered", point=0, seed=2)
    same = [a["parts"] == b["parts"] for a, b in zip(found["rows"], again["rows"], strict=True)]
    assert same == [False, False, True]  # all kept: nothing is drawn
    artifact = Artifact.load(runs[-1])
    x = 255 * torch.randint(0, 2, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.equal(partly_drawn(artifact, x, None, 2), reconstruct(artifact, x))
    first = partly_drawn(artifact, x, None, 0)
    assert torch.equal(first, partly_drawn(artifact, 255 - x, None, 0))  # with none kept x doesn't matter


def test_rows_are_drawn_given_any_column(client):
    found = ask(client, "samples", run="table", n=3, given={"kind": "b"})
    assert [row[2] for row in found["parts"][0]["rows"]] == ["b"] * 3


def test_samples_of_a_training_that_goes_on_are_of_its_checkpoint(runs, folder, tmp_path):
    shutil.copytree(runs[0], tmp_path / "going")
    whole = Artifact.load(runs[0])
    (tmp_path / "going/model.safetensors").unlink()
    going = TestClient(application(Runs([str(tmp_path / "going")])), base_url=HOME)
    curves = ask(going, "curves", run="going")
    assert not curves["finished"] and curves["checkpoint"] == ask(going, "so_far", run="going")["step"] > 0
    assert curves["verdict"][-1].endswith("once the training has ended")
    found = SoFar.of(Run.open(tmp_path / "going"))
    assert all(torch.equal(v, found.artifact.state_dict()[k]) for k, v in whole.state_dict().items())
    for path in (tmp_path / "going/checkpoints").glob("*"):
        path.unlink()
    assert SoFar.of(Run.open(tmp_path / "going")) is None


def test_the_temperature_is_for_what_writes(client):
    cold = [ask(client, "samples", run="text", n=3, seed=s, temperature=0.0)["parts"] for s in (0, 0)]
    assert cold[0] == cold[1]
    answer = client.post("/api/samples", json={"run": "table", "n": 1, "temperature": 0.5})
    assert answer.status_code == 422 and "text" in answer.json()["error"]


def test_a_model_alone_of_other_data_and_nothing_is_written(runs, folder, tmp_path):
    shutil.copy(runs[1] / "model.safetensors", tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    alone = TestClient(application(Runs([str(tmp_path)], str(folder / "rows.csv"))), base_url=HOME)
    name = alone.get("/api/runs").json()[0]["name"]
    assert points(alone, name)["total"] == 60 and ask(alone, "about", run=name)["facts"] != []
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_records_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = Records(path)
    assert records.read() == []
    path.write_text('{"step": 1, "train": {"elbo": -3.0}}\n{"step": 2, "tr')
    assert [each["step"] for each in records.read()] == [1]
    path.write_text('{"step": 1, "train": {"elbo": -3.0}}\n{"step": 2, "train": {"elbo": -2.0}}\n')
    assert [each["step"] for each in records.read()] == [1, 2]


def test_what_is_asked_goes_before_what_is_prepared():
    turns, order = Turns(), []

    def prepare():
        for _ in range(3):
            with turns.aside():
                order.append("aside")
                time.sleep(0.05)

    thread = threading.Thread(target=prepare)
    thread.start()
    time.sleep(0.01)
    with turns.asked():
        order.append("asked")
    thread.join()
    assert order[:2] == ["aside", "asked"]


def test_what_nobody_waits_for_gives_up_its_turn(known, runs):
    name = next(iter(known.all()))
    turns = known.one(name).turns
    with served(known) as address, turns.lock:
        port = int(address.rstrip("/").rpartition(":")[2])
        body = json.dumps({"run": name, "n": 1}).encode()
        head = f"POST /api/samples HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=5) as left:
            left.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            waited = [time.sleep(0.02) for _ in range(250) if not turns.waiting]
        gone = [time.sleep(0.02) for _ in range(250) if turns.waiting]
        assert len(waited) < 250 and len(gone) < 250


def test_a_plane_has_a_place_for_each_point():
    z = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    plane = Plane.of(z)
    assert torch.equal(plane.points(z), flat_map(z)[0])
    torch.testing.assert_close(plane.points(plane.place(plane.points(z))), plane.points(z))
    torch.testing.assert_close(plane.place(plane.points(z[:1]), through=z[0]), z[:1])


def test_what_is_no_run_is_refused_in_a_line(tmp_path, capsys):
    assert main(["explore", str(tmp_path / "none")]) == 2
    assert main(["explore", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.strip().split("\n")
    assert len(errors) == 2 and all("error: " in line for line in errors)


# ---------------------------------------------------------------- in a browser


def wrong(message):
    """An error on the console, unless it is of a request that was refused in a line, which the page says."""
    return message.type == "error" and "status of 422" not in message.text


@pytest.fixture(scope="module")
def page(known, tmp_path_factory):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with served(known) as address, playwright.sync_playwright() as driver:
        profile = str(tmp_path_factory.mktemp("profile"))
        context = driver.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            headless=True,
            args=FLAGS.split(),
            viewport={"width": 1100, "height": 760},
        )
        found = context.pages[0]
        found.set_default_timeout(20_000)
        found.address, found.wrong = address, []
        found.on("console", lambda message: found.wrong.append(message.text) if wrong(message) else None)
        found.on("pageerror", lambda error: found.wrong.append(str(error)))
        yield found
        context.close()


def until(page, condition):
    """Wait; the page's policy doesn't let the driver's own way evaluate anything."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


VIEWS = {
    "map": ".legend button, .legend .ramp",
    "sliders?from=1": ".shown",
    "path?via=0;1;2&steps=3": ".shown",
    "samples?n=4": ".shown",
    "own": ".drop",
    "missing?point=1": ".card, .note",
    "inside?point=1": ".card, .note",
    "beside?point=1": ".facts",
    "training": "svg",
}


@pytest.mark.parametrize("kind", RECIPES)
def test_every_view_opens_and_what_data_say_stays_text(page, kind):
    page.wrong.clear()
    for view, sign in VIEWS.items():
        page.goto(f"{page.address}#/{kind}/{view}" + f"&other={kind}" * view.startswith("beside"))
        page.wait_for_selector(f"#view {sign}", state="attached")
        assert page.locator("#view .error").count() == 0
    assert not page.wrong
    assert page.evaluate(
        "window.hacked === undefined && !document.querySelector('#view img[src=x], #view script, #view b')"
    )


def test_hover_slider_and_click_show_examples(page):
    page.wrong.clear()
    page.goto(f"{page.address}#/images/map")
    page.wait_for_selector(".legend button")
    page.focus("canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".stack .card img")
    mark = page.wait_for_selector(".mark:not(.place)", state="visible").bounding_box()
    middle = (mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.mouse.move(*middle)
    page.wait_for_selector(".tip img")
    page.mouse.click(*middle)
    page.wait_for_selector("text=Decoded here >> xpath=../..//img")
    assert "at=" in page.url and "point=" in page.url
    page.goto(page.url)  # the address is enough
    page.goto(f"{page.address}#/images/sliders?from=1")
    page.wait_for_selector("[data-turn]")
    before = page.locator("[data-turn] img").get_attribute("src")
    page.locator("input[type=range]").first.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    until(page, f"document.querySelector('[data-turn] img').src !== {json.dumps(before)}")
    assert "set=" in page.url
    assert not page.wrong


def test_molecules_are_drawn_and_saved_as_a_picture_or_as_smiles(page):
    page.wrong.clear()
    page.goto(f"{page.address}#/molecules/samples?n=2")
    page.wait_for_selector("#view .shown img")
    assert page.locator("#view .shown table").count() == 0
    with page.expect_download() as saved:
        page.click("text=Save CSV")
    assert Path(saved.value.path()).read_text().splitlines()[0] == "smiles" and not page.wrong


def test_colours_that_come_late_are_waited_for(page):
    page.goto(f"{page.address}#/layered/map")
    page.wait_for_selector(".legend button")
    until(page, "document.querySelector('.bar progress').hidden")
    page.wait_for_timeout(600)
    page.locator("#view select").first.select_option("untypical")
    until(page, "/\\d.*untypical$/.test(document.querySelector('.legend').innerText)")
    assert "1.000 untypical" not in page.locator(".legend").inner_text()  # what stood there before any had come


def test_what_a_view_lacks_stands_in_it(page):
    page.wrong.clear()
    page.goto(f"{page.address}#/images/path?via=1")
    page.wait_for_selector("text=A path needs two places or more")
    assert page.locator("#said").inner_text() == ""
    page.goto(f"{page.address}#/images/path?via=1;999")
    page.wait_for_selector("#view .error >> text=numbered from 0 to 59")
    page.goto(f"{page.address}#/nobody/samples")
    page.wait_for_selector("text=No run nobody is shown here")
    page.goto(f"{page.address}#/text/beside?point=1&other=text")
    page.wait_for_selector("text=Choose a run to stand beside this one")
    assert page.locator("#view .facts").count() == 1
    page.goto(f"{page.address}#/images/own")
    page.wait_for_selector(".drop")
    assert page.locator("input[type=file]").get_attribute("accept") is None  # a .jpg can be chosen
    assert not page.wrong


def test_painting_fills_in_and_a_code_is_changed(page):
    page.wrong.clear()
    page.goto(f"{page.address}#/images/missing?point=1")
    page.wait_for_selector(".paint canvas")
    page.focus(".paint canvas")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_selector(".tiles img")
    assert "gone=" in page.url
    page.goto(f"{page.address}#/table/missing?point=1")
    page.locator("input[type=checkbox]").first.press("Space")
    page.wait_for_selector(".filled td")
    page.goto(f"{page.address}#/coded/inside?point=1")
    page.wait_for_selector(".codes button")
    before = page.locator("[aria-live] img").get_attribute("src")
    page.locator(".codes button").nth(2).press("Enter")
    page.get_by_text("Another at random").press("Enter")
    until(page, f"document.querySelector('#view [aria-live] img').src !== {json.dumps(before)}")
    assert "codes=" in page.url
    page.goto(f"{page.address}#/layered/inside?point=1")
    page.get_by_text("Draw again").press("Enter")
    until(page, "document.querySelectorAll('#view .card img').length === 4")
    assert not page.wrong


def test_what_takes_long_says_that_it_computes(page):
    asked = []
    page.goto(f"{page.address}#/images/samples")
    page.wait_for_selector("#view .shown")
    for step in ("about", "canvas"):
        page.route(f"**/api/{step}", lambda route: asked.append(route))
    page.goto(f"{page.address}#/table/missing?point=2")
    page.wait_for_selector("text=opening table")
    assert page.locator("#run").input_value() == "table" and page.locator("#about").inner_text() == ""
    asked[0].continue_()
    page.wait_for_selector(".waiting")
    asked[1].continue_()
    page.wait_for_selector("#view input[type=checkbox]")
    assert not page.locator(".waiting").is_visible()
    page.unroute_all()


def test_random_actions_leave_no_error(page):
    page.wrong.clear()
    chance = random.Random(0)
    for _ in range(30):
        if chance.random() < 0.4:
            page.goto(f"{page.address}#/{chance.choice(list(RECIPES))}/{chance.choice(list(VIEWS))}")
        else:
            found = page.locator("#view button:visible, #view input:visible, #tabs a").all()
            one = chance.choice(found) if found else None
            if one is None or one.get_attribute("type") == "file":
                continue
            one.press(chance.choice(["Enter", "ArrowRight", "ArrowLeft", "Tab", "5"]), timeout=3000)
    page.wait_for_timeout(300)
    assert not page.wrong and page.locator("#view").count() == 1


def test_a_phone_scrolls_in_one_direction(page):
    page.set_viewport_size({"width": 380, "height": 760})
    for view, sign in (("samples", ".shown table"), ("own", ".drop")):
        page.goto(f"{page.address}#/table/{view}")
        page.wait_for_selector(f"#view {sign}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1100, "height": 760})


def test_noise_is_that_of_the_command(client, runs):
    import base64
    import io

    from PIL import Image

    from fusevae import sample
    from fusevae.data.modality import modality_of

    artifact = Run.open(runs[0]).artifact
    x = sample(artifact, 4, seed=9)
    shown = modality_of(artifact.data).fragment(x, artifact.data).image
    found = ask(client, "samples", run="images", n=4, seed=9)["parts"][0]["png"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(found)))), np.asarray(shown))
