"""What an answerer that looks at pictures must do, of the tiny Qwen3-VL in the environment that has mlx-vlm.

That environment is large, so it is a folder of its own: ``make vision`` makes it. Without it these tests are skipped.
All scenes run in one process of it, see ``support/vision_scenes.py``; here is judged what they found.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pomnit.engines.answerer_mlx_vlm import ANSWER
from pomnit.engines.mlx_vlm_session import PREFILL
from support import processes

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-vision" / "bin" / "python"
TINY = ROOT / "tests" / "golden" / "vision" / "tiny"
LONG_S = 600.0
SAME, OTHER = 1e-3, 0.05  # of logarithms of probabilities: two ways to the same, and what another picture makes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason="there is no .venv-vision; type: make vision"),
]


@pytest.fixture(scope="module")
def all_scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("user")
    environment = processes.environment() | {"HOME": str(home), "TMPDIR": str(home)}
    done = subprocess.run(
        [str(PYTHON), "-m", "support.vision_scenes", str(TINY)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().rpartition("\n")[2])


@pytest.fixture
def scene(all_scenes: dict[str, Any]) -> Callable[[str], Any]:
    """Gives what the scene of that name found."""

    def found(name: str) -> Any:
        result = all_scenes[name]
        assert "raised" not in result, result
        return result

    return found


# What is seen, and what is kept of it


def test_another_picture_changes_what_is_said_and_the_same_one_does_not(scene):
    found = scene("pictures_are_seen")
    assert found["differs"] > OTHER
    assert found["again"] < SAME


def test_a_second_turn_reads_only_what_is_new_and_says_the_same(scene):
    found = scene("a_second_turn_is_not_read_anew")
    assert found["shared"] > 64  # the picture's tokens are among them
    assert found["none"] == 0
    assert found["differs"] < SAME


def test_another_picture_of_the_same_size_is_looked_at_in_the_second_turn(scene):
    found = scene("a_changed_picture_is_looked_at")
    assert found["shared"] == 0
    assert found["differs"] < SAME
    assert found["from_old"] > OTHER


def test_without_our_keys_the_library_would_answer_about_the_old_picture(scene):
    """Should this fail with a newer mlx-vlm, the care in ``mlx_vlm_session`` has become needless."""
    found = scene("the_library_alone_answers_about_the_old_picture")
    assert found["shared"] > 64
    assert found["differs"] > OTHER


def test_a_picture_is_looked_at_once_and_seen_as_the_library_sees_it(scene):
    found = scene("one_picture_is_looked_at_once")
    assert found["times"] == 2
    assert found["again"] < SAME
    assert found["differs"] < SAME


def test_a_long_prompt_is_read_in_parts_to_the_same_end(scene):
    found = scene("long_prompts_are_read_in_parts")
    assert found["tokens"] > 2 * found["at_once"]
    assert found["at_once"] == PREFILL
    assert found["differs"] < SAME


# The protocol


def test_the_answer_comes_in_pieces_and_is_the_same_each_time(scene):
    found = scene("it_answers")
    assert len(found["pieces"]) > 5
    assert found["pieces"] == found["again"] == found["warm"]
    assert len(found["pieces"]) <= ANSWER


def test_the_answer_depends_on_the_picture(scene):
    found = scene("it_answers")
    assert len({"".join(found["pieces"]), found["other"], found["unseen"]}) == 3


def test_without_evidence_nothing_is_said(scene):
    assert scene("nothing_to_answer_from")["pieces"] == []


def test_a_picture_alone_can_be_asked_about(scene):
    assert "".join(scene("a_picture_alone_is_described")["pieces"]).strip()


def test_an_answer_that_is_stopped_ends_between_two_tokens_and_leaves_nothing_behind(scene):
    found = scene("it_stops")
    assert len(found["said"]) == 3
    assert not found["kept"]
    assert found["whole"][:3] == found["said"]
    assert len(found["whole"]) > 3
    assert found["never"] == []


def test_one_answer_is_given_at_a_time(scene):
    found = scene("one_at_a_time")
    assert "an answer is not finished yet" in found["refused"]
    assert found["waits"]
    assert found["heard"] == found["alone"]


def test_evidence_that_has_no_room_is_left_out_the_worst_first(scene):
    found = scene("evidence_that_is_too_long")
    (read,) = found["read"]
    assert read <= 2048 - 512
    assert "the question and its best evidence have more than" in found["refused"]


def test_pictures_of_all_kinds_and_shapes_are_looked_at_within_bounds(scene):
    found = scene("pictures_of_all_kinds")
    for size, tokens in found.values():
        assert all(side % 32 == 0 for side in size)
        assert max(size) <= 512
        assert 64 <= tokens <= 262_144 // 1024 + 64
    assert found["photo"][0][0] > found["photo"][0][1]


def test_what_is_no_picture_is_an_engine_error(scene):
    found = scene("what_is_no_picture")
    assert set(found) == {"text", "empty", "cut", "gif"}
    assert all(said.startswith("EngineError: a picture of") for said in found.values())


def test_marks_of_the_model_in_captured_texts_are_only_text(scene):
    found = scene("marks_in_what_was_captured")
    assert found["turns"] == 3  # system, user, assistant
    assert found["looks"] == sum(found["patches"])
    assert len(found["patches"]) == 1


# Its files


def test_a_folder_without_a_template_is_told_the_same(scene):
    assert scene("a_folder_without_a_template")["same"]


def test_what_is_no_whole_model_or_brings_a_program_is_refused(scene):
    found = scene("folders_that_are_refused")
    kinds = {case: said.partition(":")[0] for case, said in found.items()}
    assert kinds.pop("no config") == "EngineMissing"
    assert set(kinds.values()) == {"ModelDamaged"}
    assert "model_type is 'llama'" in found["other kind"]
    assert "auto_map" in found["names a program"]
    assert "modelling.py" in found["a program"]


# In a child, and at the end


def test_in_a_child_it_streams_and_a_death_in_the_middle_is_told(scene):
    found = scene("in_a_child")
    assert found["first"] == found["here"][0]
    assert found["died"].startswith("EngineDied: Qwen3-VL-4B mlx-4: its process ended by SIGKILL")
    assert found["children"] == 2
    assert found["once_more"] == found["here"]


def test_nothing_that_this_environment_leaves_out_was_needed(scene):
    found = scene("closed")
    assert found["imported"] == []
    assert found["refused"] == "EngineError: Qwen3-VL-4B: it was closed"
