"""A synthetic label curve, whose numbers can be computed by hand."""

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point

LABELS = (25, 50, 100)
CONFIGS = {
    "base": """
        data: {name: scenes, path: DATASET, num_workers: 0}
        labels: {depth: 24}
        model: {backbone: test_efficientnet, decoder: heads}
        train: {global_batch_size: 4, steps: 2}
        run: {root: RUNS}
    """,
    "umst-s": "inherits: base.yaml\ntasks: [semseg]",
    "mmst": "inherits: base.yaml\ninputs: [rgb, depth]\ntasks: [semseg]",
    "umst-ps": "inherits: umst-s.yaml\npseudo: {semseg: {teacher: mmst.yaml, keep: all, target: soft}}",
}
"""Configurations of a study of one student, by name; DATASET and RUNS stand for folders."""


def label_curve(student: str = "umst-ps", **facts) -> LabelCurve:
    """Return a curve of two seeds, which differ by 2 points of mIoU in all networks.

    The baseline's mean over the seeds is 10, 15, 20 % mIoU; at 50 labels the student has 17.5 and the teacher 20.
    Depth has no baseline.
    """
    miou = {25: (10, 10, 15), 50: (15, 17.5, 20), 100: (20, 21, 25)}
    points = tuple(
        Point(labels, *({0: (value - 1) / 100, 1: (value + 1) / 100} for value in values))
        for labels, values in miou.items()
    )
    rmse = tuple(Point(labels, {}, {0: 0.8, 1: 0.9}) for labels in LABELS)
    curves = (
        MetricCurve("semseg", "miou", student, "umst-s", "mmst", points),
        MetricCurve("depth", "rmse", student, None, None, rmse),
    )
    return LabelCurve("rooms", "semseg", student, LABELS, (0, 1), curves, facts=facts)
