"""Labels of a network's output: the same that metrics measure."""

import numpy as np
import torch
from tiny import DEPTH, NORMALS, SEMSEG

from trainer.kinds import learning


def test_classes_are_those_of_the_largest_output():
    """Also where softmax rounds two of them to one confidence."""
    output = torch.zeros(1, len(SEMSEG.classes), 1, 2)
    output[0, :2, 0, 0] = torch.tensor([0.0, 1e-9])
    output[0, 2, 0, 1] = 3.0
    label, confidence = learning(SEMSEG).decide(output), learning(SEMSEG).confidence(output)
    assert label.dtype == torch.uint8 and label.tolist() == [[[1, 2]]]
    assert confidence is not None
    np.testing.assert_allclose(confidence, [[[0.25, np.exp(3) / (np.exp(3) + 3)]]], rtol=1e-6)


def test_values_that_cannot_be_are_no_labels_and_vectors_have_one_length():
    assert learning(DEPTH).decide(torch.tensor([[[[-1.0, 2.5]]]])).tolist() == [[[0.0, 2.5]]]
    label = learning(NORMALS).decide(torch.tensor([0.0, 3.0, -4.0]).reshape(1, 3, 1, 1))
    np.testing.assert_allclose(label, [[[[0.0, 0.6, -0.8]]]], rtol=1e-6)
    assert learning(DEPTH).confidence(label) is None and learning(NORMALS).confidence(label) is None
