"""Faulty networks, weightings and filters of users: one line that names the class, at the first step at the latest.

Faults that would raise no error are reported as notes."""

import json
import sys

import pytest
import torch
from ranks import launch

import tutelage as tt
from shards.errors import UserError
from shards.keep import Keep
from shards.owncode import name_of, own_code
from shards.tasks import Task, palette
from trainer.evaluation import evaluate
from trainer.losses import MultiTaskLoss
from trainer.model.checked import check_tasks, predictions_of
from trainer.model.create import create_model
from trainer.trainer import Trainer
from trainer.trainstage import train
from trainer.weighting import LossWeighting, weighting_of

NETWORKS = """
import torch
from torch import nn
from trainer.model.base import Network

class Good(Network):
    def __init__(self, architecture):
        super().__init__(architecture)
        self.layer = nn.Conv2d(self.channels(["rgb"]), sum(task.channels for task in architecture.tasks), 1)

    def give(self, inputs):
        height, width = self.size(inputs)
        out = self.layer(self.encode(inputs, ["rgb"]))[..., :height, :width]
        tasks = self.architecture.tasks
        return dict(zip([task.name for task in tasks], out.split([task.channels for task in tasks], 1)))

    def forward(self, inputs):
        return self.predictions(self.give(inputs))

class Mapping(Good):
    def forward(self, inputs):
        return self.give(inputs)

class Few(Good):
    def forward(self, inputs):
        return self.predictions({"semseg": self.give(inputs)["semseg"]})

class Wide(Good):
    def forward(self, inputs):
        return self.predictions({name: torch.cat([x, x], 1) for name, x in self.give(inputs).items()})

class Flat(Good):
    def forward(self, inputs):
        return self.predictions({name: x[:, 0] for name, x in self.give(inputs).items()})

class Small(Good):
    def forward(self, inputs):
        return self.predictions({name: x[..., ::2, ::2] for name, x in self.give(inputs).items()})

class Broken(Good):
    def forward(self, inputs):
        return self.predictions(self.give(inputs)["semseg"].nonsense)

class Unused(Good):
    def __init__(self, architecture):
        super().__init__(architecture)
        self.never = nn.Linear(2, 2)
"""
WEIGHTINGS = """
import torch
from trainer.weighting import LossWeighting

class Good(LossWeighting):
    def __init__(self, count):
        super().__init__(count)
        self.register_buffer("mean", torch.ones(count))
    def forward(self):
        return self.mean * 1
    def weigh(self, losses, values, share):
        return losses / values
    def observe(self, losses, epoch):
        self.mean.mul_(0.9).add_(losses, alpha=0.1)

class Bare(Good):
    def __init__(self, count):
        torch.nn.Module.__init__(self)

class Sum(Good):
    def weigh(self, losses, values, share):
        return losses.sum()

class Detached(Good):
    def weigh(self, losses, values, share):
        return losses.detach()

class Nothing(Good):
    def forward(self):
        pass

class Raises(Good):
    def forward(self):
        return self.meen

class Observes(Good):
    def observe(self, losses):
        pass

class Forgets(Good):
    def observe(self, losses, epoch):
        self.last = losses
"""


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Write a user's modules into the working directory and return it."""
    (tmp_path / "mynet.py").write_text(NETWORKS)
    (tmp_path / "myweigh.py").write_text(WEIGHTINGS)
    (tmp_path / "myfilter.py").write_text(
        "def three(task, label, confidence): ...\ndef boom(t, l, c, s): return l['x']\n"
    )
    (tmp_path / "broken.py").write_text("import nosuchlibrary\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("mynet", "myweigh", "myfilter", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mapping", "mynet:Mapping gives a dict, expected Predictions; return self.predictions"),
        ("Few", "mynet:Few gives nothing for depth, only semseg"),
        ("Wide", r"mynet:Wide gives semseg as \(\d, 34, 32, 64\), expected \(\d, 17, 32, 64\)"),
        ("Flat", r"mynet:Flat gives semseg as \(\d, 32, 64\)"),
        ("Small", r"mynet:Small gives semseg as \(\d, 17, 16, 32\)"),
        ("Broken", "mynet:Broken raised AttributeError: .*nonsense"),
    ],
)
def test_a_network_whose_output_is_wrong_is_not_trained(make, name, message):
    with pytest.raises(UserError, match=f"(mynet.py:\\d+: )?model.name: {message}"):
        train(make("plain", f"model.name=mynet:{name}"))


def test_a_good_one_is_trained_and_evaluated(make):
    run = make("plain", "model.name=mynet:Good", "loss.weighting=myweigh:Good", "train.steps=2", "train.log_every=1")
    train(run)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    first, second = (line for line in lines if "loss" in line)
    assert first["weighed"] == pytest.approx(first["loss"])
    means = {task: 0.9 + 0.1 * first["loss"][task] for task in ("semseg", "depth")}
    assert all(second["weighed"][task] == pytest.approx(second["loss"][task] / means[task], rel=1e-4) for task in means)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bare", "myweigh:Bare is not initialised; call super"),
        ("Sum", r"myweigh:Sum.weigh gives a tensor of shape \(\), expected \(2,\)"),
        ("Detached", "myweigh:Detached.weigh gives terms without a gradient"),
        ("Nothing", "myweigh:Nothing.forward gives a NoneType"),
        ("Raises", "myweigh:Raises raised AttributeError: .*meen"),
        ("Observes", "myweigh:Observes raised TypeError: "),
        ("Nope", r"myweigh \(.*myweigh.py\) has no Nope"),
    ],
)
def test_a_weighting_that_is_wrong_is_told(make, name, message):
    with pytest.raises(UserError, match=f"(myweigh.py:\\d+: )?loss.weighting: {message}"):
        train(make("plain", f"loss.weighting=myweigh:{name}"))


def test_what_a_weighting_would_forget_is_told(make, caplog):
    train(make("plain", "loss.weighting=myweigh:Forgets", "train.steps=3"))
    assert caplog.text.count("note: myweigh:Forgets changes last in observe") == 1


def test_a_filter_is_tried_before_there_are_labels(modules, monkeypatch):
    monkeypatch.syspath_prepend(modules)
    import myfilter

    with pytest.raises(
        UserError, match=r"myfilter:three cannot be called with \(task, label, confidence, statistics\)"
    ):
        Keep.of(myfilter.three)
    keep = Keep.of(myfilter.boom)
    with pytest.raises(UserError, match=r"myfilter.py:2: keep: myfilter:boom raised IndexError: "):
        keep.filtered(Task("depth", "scalar", scale=0.001, unit="m"), torch.zeros(4, 4).numpy(), None, {})


def test_a_module_that_imports_what_is_not_there():
    with pytest.raises(UserError, match="its file is there, and imports nosuchlibrary: install that"):
        weighting_of("broken:Weighting", 2)
    with pytest.raises(UserError, match="install it, or put it into the folder"):
        weighting_of("nosuchmodule:Weighting", 2)


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), own_code(create_model):
        _ = 1 / 0


def test_a_lost_rank_is_not_an_error_of_ones_own_network():
    """Whose forward may have collective operations of its own, or of FSDP2."""
    task, samples = Task("depth", "scalar", scale=0.001), {"rgb": torch.zeros(2, 3, 32, 32)}

    class Mine(torch.nn.Module):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        def forward(self, inputs):
            raise self.error

    lost = (torch.distributed.DistBackendError("lost"), RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed"))
    for error in lost:
        with pytest.raises(type(error)):
            predictions_of(Mine(error), samples, [task])
    with pytest.raises(UserError, match=r"Mine raised RuntimeError: mine$"):
        predictions_of(Mine(RuntimeError("mine")), samples, [task])


def test_the_class_of_a_network_is_the_one_that_was_written():
    """FSDP2 derives one of its own."""
    derived = type("FSDPLinear", (torch.nn.Linear,), {"__module__": "torch.distributed.fsdp._fully_shard._fsdp_init"})
    assert name_of(derived(1, 1)) == name_of(torch.nn.Linear(1, 1)) == name_of(torch.nn.Linear)


def test_parameters_that_nothing_follows_from_are_named_on_two_ranks(make, modules):
    run = make("plain", "model.name=mynet:Unused", "train.steps=2")
    arguments = ("-m", "tutelage", "train", str(run.path), *run.overrides)
    process = launch(2, *arguments, env={"PYTHONPATH": str(modules)})
    assert process.returncode != 0
    assert "mynet:Unused has parameters that no prediction follows from: never.weight, never.bias" in process.stderr


def test_a_file_that_has_changed_since_is_told(make, modules, caplog):
    arguments = ("plain", "model.name=mynet:Good", "train.steps=2")
    train(make(*arguments))
    train(make(*arguments))
    assert "has changed" not in caplog.text
    (modules / "mynet.py").write_text(NETWORKS + "# another\n")
    train(make(*arguments))
    assert "mynet.py has changed since" in caplog.text


def test_a_loss_takes_labels_in_one_form_only():
    depth = Task("depth", "scalar", scale=0.001, unit="m")
    loss = MultiTaskLoss((depth,))
    labels = torch.ones(2, 1, 8, 8)
    assert loss.counts({"depth": labels}).tolist() == [128]
    with pytest.raises(
        UserError, match=r"depth: its labels have the shape \(2, 8, 8\), expected \(batch, 1, height, width\)"
    ):
        loss.counts({"depth": labels[:, 0]})
    with pytest.raises(UserError, match="depth: the batch has no labels of it, only semseg"):
        loss.counts({"semseg": labels})
    with pytest.raises(UserError, match="gives every task weight 0"):
        MultiTaskLoss((depth,), {"depth": 0})


def test_data_of_other_tasks_are_refused(tiny_dataset, tmp_path):

    data = tt.ShardDataset(tiny_dataset.folder, "train")
    classes = next(task for task in data.tasks if task.kind == "classes")
    other = Task(classes.name, "classes", tuple("abcdefg"), palette(7))
    with pytest.raises(UserError, match=f"{classes.name}: has the classes .*, where the network knows 7"):
        check_tasks([other], data.tasks, "MANIFEST.json")
    model = create_model("fpn", backbone="test_efficientnet", tasks=[other])
    with pytest.raises(UserError, match="where the network knows 7"):
        evaluate(model, data)
    with pytest.raises(UserError, match="where the network knows 7"):
        Trainer(model, MultiTaskLoss([other]), data, out=tmp_path / "run", steps=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": "1e-3"}, "lr: is '1e-3'; give float"),
        ({"steps": 0}, "steps: 0 is less than 1"),
        ({"val": "val"}, "val: is 'val', a str; give a ShardDataset or Validation or None"),
        ({"weighting": "uncertainty"}, "weighting: is 'uncertainty'"),
        ({"optimizer": "adam"}, "optimizer: is 'adam', a str; give an Optimizer or None"),
        ({"decodr": 1}, "decodr: is not an option of training"),
    ],
)
def test_arguments_from_python(tiny_dataset, tmp_path, arguments, message):

    data = tt.ShardDataset(tiny_dataset.folder, "train")
    model = create_model("fpn", backbone="test_efficientnet", tasks=data.tasks)
    with pytest.raises(UserError, match=message):
        Trainer(model, MultiTaskLoss(data.tasks), data, out=tmp_path / "run", **arguments)


def test_a_weighting_is_a_component(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    from myweigh import Good

    data = tt.ShardDataset(tiny_dataset.folder, "train")
    model = create_model("fpn", backbone="test_efficientnet", tasks=data.tasks)
    weighting = Good(len(data.tasks))
    loss = MultiTaskLoss(data.tasks)
    Trainer(model, loss, data, out=tmp_path / "run", weighting=weighting, steps=1, global_batch_size=2).fit()
    assert isinstance(model.weighting, LossWeighting) and (weighting.mean != 1).any()


def test_networks_are_named_by_tasks_and_options():
    depth = Task("depth", "scalar", scale=0.001, unit="m")
    with pytest.raises(UserError, match="tasks: holds 'depth', a str; give tasks as a data set has them"):
        create_model(tasks=["depth"])
    with pytest.raises(UserError, match="decodr: is not an option of networks; did you mean decoder"):
        create_model(tasks=[depth], decodr="heads")


def test_predictions_pass_through_what_engines_wrap_around():
    depth = Task("depth", "scalar", scale=0.001, unit="m")
    model = create_model("fpn", backbone="test_efficientnet", tasks=[depth]).eval()
    wrapped = torch.nn.DataParallel(model)
    inputs = {"rgb": torch.rand(2, 3, 32, 64)}
    assert predictions_of(wrapped, inputs, [depth]).final["depth"].shape == (2, 1, 32, 64)
