"""``keep: 10%`` of a teacher that is sure of nearly everything."""

import numpy as np
import pytest
import torch

import tutelage as tt
from trainer.model.network import Predictions
from trainer.trainingdata import TrainingData


class Sure(torch.nn.Module):
    """Predicts class 1 with confidences from 1 - ``spread`` to 1, and all pixels of a row with the same."""

    def __init__(self, spread: float, classes: int) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(classes))
        self.spread = spread

    def forward(self, inputs: dict[str, torch.Tensor]) -> Predictions:
        count, _, height, width = inputs["rgb"].shape
        others = len(self.logits) - 1
        doubt = self.spread * (torch.arange(height, dtype=torch.float64) + 0.5) / height
        logits = self.logits.new_zeros(count, len(self.logits), height, width)
        logits[:, 1] = torch.log((1 - doubt) / (doubt / others)).float()[:, None]
        return Predictions({"semseg": logits}, [])


@pytest.mark.parametrize(("spread", "noted"), [(0.0099, False), (1e-7, True)])
def test_a_share_of_a_sure_teachers_labels_is_kept_or_more_is_noted(scenes_dataset, tmp_path, caplog, spread, noted):
    task = scenes_dataset.task("semseg")
    data = tt.ShardDataset(scenes_dataset, "train", tasks=["semseg"])
    kept = tt.label(Sure(spread, len(task.classes)), data, tmp_path, inputs=["rgb"], tasks=[task], frames="all")
    assert kept["semseg"]["kept_by_threshold"]["0.99"] == 1
    pseudo = {"semseg": tt.PseudoLabels(tmp_path, keep="10%")}
    train = tt.ShardDataset(scenes_dataset, "train", tasks=["semseg"], labels={"semseg": 0}, pseudo=pseudo)
    share = np.mean([sample["semseg"] != 255 for sample in train])
    TrainingData(train, ["rgb"], ["semseg"])
    if noted:
        assert share == 1
        assert "note: pseudo.semseg.keep=10% keeps 100% of the teacher's labels" in caplog.text
    else:
        assert 0.1 <= share <= 0.125 and not caplog.text
