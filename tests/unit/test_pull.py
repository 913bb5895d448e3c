"""A model comes whole and verified, or it does not come: what came before a failure is kept for the next attempt."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest

from pomnit.errors import DiskFull, EngineError, EngineMissing, ModelDamaged, UsageError
from pomnit.models import hub
from pomnit.models.cards import ALL_MINILM_L6_V2, BGE_M3, CONFIG, INDEX, PICKLED, SPARSE, TOKENIZER, WEIGHTS
from pomnit.models.pull import pull
from support.hub_server import COMMIT, serving

REPOSITORY = "someone/tiny"
FILES = {
    WEIGHTS: random.Random(0).randbytes(300_000),
    CONFIG: b'{"model_type": "bert"}',
    TOKENIZER: b'{"version": "1.0"}' + b" " * 5000,
    "README.md": b"not wanted",
    "pytorch_model.bin": b"not wanted either",
}
WANTED = {name: FILES[name] for name in (WEIGHTS, CONFIG, TOKENIZER)}
CARD = dataclasses.replace(
    ALL_MINILM_L6_V2, name="tiny", repository=REPOSITORY, revision=COMMIT, digests={}, package="", package_folder=""
)
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def server(monkeypatch):
    with serving(REPOSITORY, FILES) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def given(tmp_path):
    """A folder of the user's with the files."""
    folder = tmp_path / "given"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != hub.MANIFEST}


def state(models: Path) -> hub.State:
    return hub.state(CARD, models, models.parent / "cache", runtime="onnx", bits=8)


def found(models: Path) -> hub.ModelFiles:
    return hub.find(CARD, models, models.parent / "cache", runtime="onnx", bits=8)


class TestComplete:
    def test_the_files_of_the_card_come_and_no_others(self, server, models):
        pulled = pull(CARD, models)
        assert contents(pulled.folder) == WANTED
        assert (pulled.folder, pulled.revision, pulled.pinned, pulled.fresh) == (models / "tiny", COMMIT, True, True)
        assert found(models).folder == pulled.folder
        assert state(models).state == "ready"
        assert sorted(path.name for path in models.iterdir()) == [".tiny.lock", "tiny"]

    def test_the_manifest_says_what_came_from_where(self, server, models):
        pull(CARD, models)
        manifest = json.loads((models / "tiny" / "pomnit.json").read_text())
        assert manifest["repository"] == REPOSITORY
        assert manifest["revision"] == COMMIT
        assert manifest["form"] == "published"
        sizes = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in WANTED.items()}
        assert {name: (entry["size"], entry["sha256"]) for name, entry in manifest["files"].items()} == sizes

    def test_nothing_but_the_listing_and_the_files_is_asked_for(self, server, models):
        pull(CARD, models)
        paths = [path for path, _ in server.asked]
        assert paths[0] == f"/api/models/{REPOSITORY}/revision/{COMMIT}"
        assert {path.rpartition("/")[2] for path in paths[1:]} == set(WANTED)
        agents = {heads["user-agent"] for _, heads in server.heads}
        assert not any(word in agent for agent in agents for word in ("torch", "agent/"))

    def test_progress_only_rises_and_ends_at_all_bytes(self, server, models):
        told: list[tuple[int, int, str]] = []
        server.resumes, server.cuts = False, {WEIGHTS: [100_000, 200_000]}
        pull(CARD, models, on_progress=lambda done, total, name: told.append((done, total, name)))
        total = sum(map(len, WANTED.values()))
        assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
        assert told[-1][:2] == (total, total)
        assert {name for _, _, name in told} == set(WANTED)
        assert {total for _, total, _ in told} == {total}

    def test_what_is_here_is_not_fetched_again(self, server, models):
        pull(CARD, models)
        server.asked.clear()
        again = pull(CARD, models)
        assert (again.fresh, again.folder, again.revision) == (False, models / "tiny", COMMIT)
        assert server.asked == []

    def test_files_put_there_by_hand_are_taken_without_the_network(self, models, given):
        shutil.copytree(given, models / "tiny")
        assert not pull(CARD, models).fresh

    def test_a_model_that_nobody_pinned_keeps_the_commit_that_the_hub_gave(self, server, models):
        unpinned = dataclasses.replace(CARD, revision="main")
        pulled = pull(unpinned, models)
        assert (pulled.revision, pulled.pinned) == (COMMIT, False)
        manifest = hub.read_manifest(models / "tiny")
        assert manifest is not None
        assert manifest.revision == COMMIT
        assert all(COMMIT in path for path, _ in server.asked if "resolve" in path)

    def test_another_commit_than_the_pinned_one_is_refused(self, server, models):
        server.commit = "bad" + "0" * 37
        with pytest.raises(EngineMissing, match=f"commit bad0*.* for {COMMIT}"):
            pull(CARD, models)
        assert not (models / "tiny").exists()

    def test_weights_in_another_form_than_the_card_says_are_taken(self, server, models):
        del server.listed[WEIGHTS]
        pulled = pull(CARD, models)
        assert set(contents(pulled.folder)) == {PICKLED, CONFIG, TOKENIZER}
        assert found(models).folder == pulled.folder

    def test_every_file_of_a_card_with_its_own_names_comes(self, server, models):
        card = dataclasses.replace(BGE_M3, repository=REPOSITORY, revision=COMMIT, digests={})
        server.files |= {SPARSE: b"head"}
        server.listed |= {SPARSE: b"head"}
        assert set(contents(pull(card, models).folder)) == {PICKLED, SPARSE, CONFIG, TOKENIZER}

    def test_the_token_goes_to_the_hub_and_not_where_it_sends_us(self, server, models, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        pull(CARD, models)
        sent = {
            "stored" if path.startswith("/stored/") else "hub": heads.get("authorization")
            for path, heads in server.heads
        }
        assert sent == {"hub": "Bearer hf_secret", "stored": None}


class TestInterrupted:
    def test_a_cut_connection_is_resumed_where_it_stopped(self, server, models):
        server.cuts = {WEIGHTS: [100_000, 50_000]}
        assert contents(pull(CARD, models).folder) == WANTED
        assert [asked for path, asked in server.asked if path == f"/stored/{WEIGHTS}"] == [
            None,
            "bytes=100000-",
            "bytes=150000-",
        ]
        assert server.given[WEIGHTS] == len(FILES[WEIGHTS])

    def test_a_connection_that_is_cut_for_good_keeps_what_came(self, server, models):
        server.cuts = {WEIGHTS: [120_000, 0]}
        with pytest.raises(EngineMissing, match=r"model\.safetensors"):
            pull(CARD, models)
        assert not (models / "tiny").exists()
        assert (state(models).state, state(models).size_bytes) == ("partial", 120_000)
        with pytest.raises(EngineMissing, match=r"stopped after 0 MB; type: pomnit models pull tiny"):
            found(models)
        assert contents(pull(CARD, models).folder) == WANTED
        assert server.given[WEIGHTS] == len(FILES[WEIGHTS])

    def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(self, server, models):
        def stop(done: int, total: int, name: str) -> None:
            if done > 100_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            pull(CARD, models, on_progress=stop)
        assert caught.value.__notes__ == ["what came is kept; to go on, type: pomnit models pull tiny"]
        kept = state(models).size_bytes
        assert kept > 100_000
        server.given.clear()
        assert contents(pull(CARD, models).folder) == WANTED
        assert server.given[WEIGHTS] == len(FILES[WEIGHTS]) - kept

    def test_a_server_that_cannot_resume_sends_all_again(self, server, models):
        server.resumes, server.cuts = False, {WEIGHTS: [100_000]}
        assert contents(pull(CARD, models).folder) == WANTED
        assert server.given[WEIGHTS] == 100_000 + len(FILES[WEIGHTS])

    def test_two_at_once_are_refused(self, models):
        models.mkdir()
        with (models / ".tiny.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(UsageError, match="another process is pulling tiny"):
                pull(CARD, models)


class TestDamaged:
    @pytest.mark.parametrize("name", [WEIGHTS, CONFIG, TOKENIZER])
    def test_a_file_that_is_not_what_the_hub_lists_is_removed_and_the_others_stay(self, server, models, name):
        server.files[name] = bytes(len(FILES[name]))
        with pytest.raises(ModelDamaged, match=f"{name} of tiny.*pomnit models pull tiny"):
            pull(CARD, models)
        assert not (models / "tiny").exists()
        kept = contents(models / "tiny.part")
        assert kept == {other: content for other, content in WANTED.items() if other in kept}
        assert name not in kept
        server.files = FILES
        server.given.clear()
        assert contents(pull(CARD, models).folder) == WANTED
        assert set(server.given) == set(WANTED) - set(kept)

    def test_a_hub_whose_digests_agree_does_not_get_around_those_of_the_card(self, server, models):
        wary = dataclasses.replace(CARD, digests={WEIGHTS: "0" * 64})
        with pytest.raises(ModelDamaged, match="its card says 0000"):
            pull(wary, models)
        assert WEIGHTS not in contents(models / "tiny.part")

    def test_more_bytes_than_listed_are_not_written(self, server, models):
        server.files = FILES | {WEIGHTS: bytes(400_000)}
        with pytest.raises(ModelDamaged, match="more than the 300000 bytes"):
            pull(CARD, models)
        assert all(path.stat().st_size <= 300_000 for path in (models / "tiny.part").iterdir())

    def test_a_folder_that_was_damaged_is_mended_and_the_good_files_stay(self, server, models):
        pull(CARD, models)
        (models / "tiny" / CONFIG).write_bytes(bytes(len(FILES[CONFIG])))
        server.given.clear()
        assert pull(CARD, models).fresh
        assert contents(models / "tiny") == WANTED
        assert set(server.given) == {CONFIG}


class TestRefused:
    def test_without_a_network_the_files_their_page_and_their_folder_are_named(self, models, monkeypatch):
        with serving(REPOSITORY, FILES) as gone:
            monkeypatch.setenv("HF_ENDPOINT", gone.endpoint)
        with pytest.raises(EngineMissing) as caught:
            pull(CARD, models)
        said = str(caught.value)
        page = f"{gone.endpoint}/{REPOSITORY}/tree/{COMMIT}"
        assert all(part in said for part in (*WANTED, page, str(models / "tiny"), "pomnit models pull tiny --from"))

    def test_sizes_are_named_once_they_are_known(self, server, models):
        server.cuts = {WEIGHTS: [0]}
        with pytest.raises(EngineMissing, match=r"model\.safetensors \(0\.3 MB\)"):
            pull(CARD, models)

    @pytest.mark.parametrize(
        ("status", "says"), [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "does not exist"), (503, "refuses now")]
    )
    def test_a_refusal_says_what_it_means(self, server, models, status, says):
        server.status = status
        with pytest.raises(EngineMissing, match=says):
            pull(CARD, models)

    @pytest.mark.parametrize(("status", "says"), [(403, "HF_TOKEN"), (404, "does not exist"), (429, "refuses now")])
    def test_a_single_file_may_be_refused(self, server, models, status, says):
        server.refused = {TOKENIZER: status}
        with pytest.raises(EngineMissing, match=f"{says}.*missing: tokenizer"):
            pull(CARD, models)

    def test_a_folder_of_models_that_is_a_file_is_named(self, models):
        models.write_text("")
        with pytest.raises(EngineError, match=f"{models}: File exists"):
            pull(CARD, models)

    @pytest.mark.parametrize("endpoint", ["no address", "ftp://127.0.0.1/", "http://127.0.0.1:99999"])
    def test_an_endpoint_that_is_none_is_named(self, models, monkeypatch, endpoint):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(EngineMissing, match=r"cannot be reached|does not answer"):
            pull(CARD, models)

    def test_a_repository_without_the_files_is_refused_before_anything_is_fetched(self, server, models):
        del server.listed[CONFIG]
        with pytest.raises(EngineMissing, match=r"has no config\.json"):
            pull(CARD, models)
        assert server.given == {}

    def test_too_little_room_is_seen_beforehand_with_the_figures(self, server, models, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 100_000, 100_000))
        with pytest.raises(DiskFull, match=r"needs 0 MB more in .*models, and 0 MB are free"):
            pull(CARD, models)
        assert server.given == {}


class TestShards:
    @pytest.fixture
    def sharded(self, server):
        index = {"weight_map": {"a": ONE, "b": TWO, "c": ONE}}
        files = {INDEX: json.dumps(index).encode(), ONE: bytes(2000), TWO: b"x" * 3000}
        files |= {name: FILES[name] for name in (CONFIG, TOKENIZER)}
        server.files, server.listed = dict(files), dict(files)
        return dataclasses.replace(CARD, files=(INDEX, CONFIG, TOKENIZER))

    def test_the_shards_that_the_index_names_come(self, sharded, server, models):
        assert contents(pull(sharded, models).folder) == server.files
        assert hub.find(sharded, models, models.parent / "cache", runtime="mlx", bits=4).folder == models / "tiny"

    @pytest.mark.parametrize(
        "name", ["../evil.safetensors", "a/b.safetensors", "/etc/passwd", "evil.py", ".safetensors", 7]
    )
    def test_a_shard_with_a_name_that_leads_elsewhere_is_refused(self, sharded, server, models, name):
        index = json.dumps({"weight_map": {"a": name}}).encode()
        server.files[INDEX] = server.listed[INDEX] = index
        with pytest.raises(ModelDamaged, match=r"not the name of a \.safetensors file"):
            pull(sharded, models)
        assert INDEX not in contents(models / "tiny.part")

    def test_a_shard_that_the_hub_does_not_list_is_named(self, sharded, server, models):
        del server.listed[TWO]
        with pytest.raises(EngineMissing, match=f"lists no {TWO}"):
            pull(sharded, models)


class TestFromAFolder:
    def test_the_files_are_copied_and_the_folder_is_left_alone(self, models, given):
        told: list[int] = []
        pulled = pull(CARD, models, folder=given, on_progress=lambda done, total, name: told.append(done))
        assert contents(pulled.folder) == WANTED
        assert contents(given) == FILES
        assert told == sorted(told)
        assert told[-1] == sum(map(len, WANTED.values()))
        assert (pulled.revision, pulled.pinned) == ("", False)

    def test_weights_that_the_card_knows_have_its_revision(self, models, given):
        known = dataclasses.replace(CARD, digests={WEIGHTS: hashlib.sha256(FILES[WEIGHTS]).hexdigest()})
        pulled = pull(known, models, folder=given)
        assert (pulled.revision, pulled.pinned) == (COMMIT, True)

    def test_a_folder_that_another_machine_pulled_keeps_its_revision(self, server, models, tmp_path):
        there = pull(dataclasses.replace(CARD, revision="main"), tmp_path / "stick").folder
        server.asked.clear()
        assert pull(CARD, models, folder=there).revision == COMMIT
        assert server.asked == []

    def test_a_wrong_file_is_not_taken(self, models, given):
        wary = dataclasses.replace(CARD, digests={CONFIG: "0" * 64})
        with pytest.raises(ModelDamaged, match=r"config\.json: its sha256 is .* it should be 0000"):
            pull(wary, models, folder=given)
        assert not (models / "tiny").exists()
        assert CONFIG not in contents(models / "tiny.part")

    def test_what_the_folder_lacks_is_named(self, models, given):
        (given / TOKENIZER).unlink()
        with pytest.raises(EngineMissing, match=f"{given} lacks tokenizer.json"):
            pull(CARD, models, folder=given)

    def test_a_folder_of_another_model_is_refused(self, server, models, tmp_path):
        other = pull(dataclasses.replace(CARD, name="other"), tmp_path / "stick").folder
        with pytest.raises(UsageError, match="holds other"):
            pull(CARD, models, folder=other)

    def test_the_unfinished_folder_itself_is_no_source(self, models, given):
        shutil.copytree(given, models / "tiny")
        (models / "tiny" / CONFIG).unlink()
        with pytest.raises(UsageError, match="name another folder"):
            pull(CARD, models, folder=models / "tiny")

    def test_too_little_room_is_seen_beforehand(self, models, given, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
        with pytest.raises(DiskFull):
            pull(CARD, models, folder=given)
