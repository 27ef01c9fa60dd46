"""``affinity.json``: what all versions wrote is read. What is damaged: tests/trainer/test_recommendation.py."""

import json

from trainer.affinity import Affinity, Bounds, Effect, MeasuredTask, Recommendation, Score, Verdict, affinity_file

OLD = {
    "format": 1,
    "seeds": [0],
    "gains": [{"source": "a", "target": "b", "helps": None, "relative": {"mean": 0.1, "low": None, "high": None}}],
    "verdicts": [{"condition": "2-mirror", "words": "a helps b"}],
    "recommended": {
        "a": {"inputs": None, "threshold": None, "why": "no frame lacks it"},
        "b": {"inputs": ["rgb", "a"], "threshold": 0.8, "why": "a helps b"},
    },
}


def test_what_an_older_version_wrote_is_read():
    affinity = Affinity.from_json(OLD)
    assert affinity.recommended == {
        "a": Recommendation(None, "all", "no frame lacks it"),
        "b": Recommendation(["rgb", "a"], 0.8, "a helps b"),
    }
    assert affinity.gains == [Effect(source="a", target="b", helps=None, relative=Bounds(0.1, None, None))]
    assert affinity.verdicts == [Verdict(condition="2-mirror", words="a helps b")]
    assert (affinity.split, affinity.looks) == ("val", None), "it does not say, and that was what there was"


def test_it_is_read_as_it_was_written(tmp_path):
    affinity = Affinity(
        tasks={"a": MeasuredTask("scalar", "rmse", "lower", 3)},
        size=(3, 4),
        scores=[Score(["rgb"], "a", {"0": 0.5})],
        recommended={"a": Recommendation(None, "all", "no frame lacks it")},
        looks=[3],
    )
    (tmp_path / "affinity.json").write_text(json.dumps(affinity.to_json()))
    assert Affinity.read(tmp_path / "affinity.json") == affinity


def test_where_pseudo_labels_come_from_in_words():
    assert Recommendation(["rgb", "a"], 0.8, "it helps").origin == "from a teacher that sees rgb + a (it helps)"


def test_the_file_of_before_is_taken_where_there_is_no_newer_one(tmp_path):
    assert affinity_file(tmp_path) == tmp_path / "affinity.json"
    (tmp_path / "relation.json").write_text(json.dumps(OLD))
    assert affinity_file(tmp_path) == tmp_path / "relation.json" and Affinity.read(affinity_file(tmp_path)).seeds == [0]
    (tmp_path / "affinity.json").write_text("{}")
    assert affinity_file(tmp_path) == tmp_path / "affinity.json"
