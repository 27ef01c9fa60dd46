"""The whole of an experiment over several hosts is that of one machine."""

import re

from clone import Clone


def test_two_nodes_do_what_one_machine_does(empty: Clone):
    """From a clone without data to a table; what is finished or queued is not submitted again."""
    submit = {"SUBMIT": "--nodes=2", "SUBMIT_PREPARE": ""}
    first = empty.run("slurm/pipeline.sh", "student.yaml", **submit)
    jobs = empty.jobs(first)
    assert list(jobs) == ["prepare", "teacher", "label", "student", "evaluate"], first
    again = empty.run("slurm/pipeline.sh", "student.yaml", **submit)
    assert empty.jobs(again) == jobs and again.count("submitted before") == 5
    table = empty.finish(jobs["evaluate"], 400)
    assert re.search(r"^ student .*\n", table, re.MULTILINE) and re.search(r"^ teacher .*\n", table, re.MULTILINE)
    assert empty.run("slurm/pipeline.sh", "student.yaml").count(": finished") == 5
    empty.launch(2, "run", "student.yaml", "run.root=alone")
    for name in ("teacher", "student"):
        there, here = (empty.result(f"{root}/scenes/{name}/seed-0") for root in ("runs", "alone"))
        assert there["metrics"] == here["metrics"]
        assert there["asked"] == here["asked"], "the same bits of weights"
