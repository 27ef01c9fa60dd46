"""``relation.json``: what all versions wrote is read. What is damaged: tests/trainer/test_recommendation.py."""

import json

from trainer.relation import Bounds, Effect, Recommendation, RelatedTask, Relation, Score, Verdict

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
    relation = Relation.from_json(OLD)
    assert relation.recommended == {
        "a": Recommendation(None, "all", "no frame lacks it"),
        "b": Recommendation(["rgb", "a"], 0.8, "a helps b"),
    }
    assert relation.gains == [Effect(source="a", target="b", helps=None, relative=Bounds(0.1, None, None))]
    assert relation.verdicts == [Verdict(condition="2-mirror", words="a helps b")]
    assert (relation.split, relation.looks) == ("val", None), "it does not say, and that was what there was"


def test_it_is_read_as_it_was_written(tmp_path):
    relation = Relation(
        tasks={"a": RelatedTask("scalar", "rmse", "lower", 3)},
        size=(3, 4),
        scores=[Score(["rgb"], "a", {"0": 0.5})],
        recommended={"a": Recommendation(None, "all", "no frame lacks it")},
        looks=[3],
    )
    (tmp_path / "relation.json").write_text(json.dumps(relation.to_json()))
    assert Relation.read(tmp_path / "relation.json") == relation


def test_where_pseudo_labels_come_from_in_words():
    assert Recommendation(["rgb", "a"], 0.8, "it helps").origin == "from a teacher that sees rgb + a (it helps)"
