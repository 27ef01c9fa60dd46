"""The options of each section of a configuration (:class:`trainer.config.Config`): data, pseudo-labels, network, loss,
augmentation, optimisation, validation, labelling, checkpoints, folder.

A section's option is declared here, as :mod:`trainer.config` describes, and nowhere else.
"""

from dataclasses import dataclass, field
from typing import Any

from trainer.definition import DPT, FPN, HRNET_W18_WIDTHS, MTINET
from trainer.option import option
from trainer.parsing import (
    check_limits,
    check_local,
    check_unique,
    check_url,
    check_widths,
    check_zoom,
    parse_bytes,
    parse_every,
    parse_keep,
    parse_size,
)

_CONFIDENCE = "a confidence of at least 0 and less than 1"
_DECAY = "more than 0 and less than 1, such as 0.999, or null for none"


@dataclass
class Data:
    """Which shards are read, and how."""

    name: str = option("data", column="dataset", measured=True)
    """Name of the data set in the folders of runs."""
    path: str = option("???", decides=False, path=True, measured=True)
    """Folder of the data set (the one that holds MANIFEST.json): a path, or a URL such as https:// or s3://."""
    cache: str | None = option(None, decides=False, path=True, check=check_local)
    """Folder on each node's own disk for shards of a URL, which its ranks and runs share; null: $TUTELAGE_CACHE, or the
    node's temporary folder in a Slurm job, or else ~/.cache/tutelage."""
    cache_size: str = option("50GB", decides=False, check=parse_bytes)
    """Most that the cache may hold, in kB, MB, GB or TB; shards that are needed last are removed first."""
    size: str | None = option(None, check=parse_size, column="size", measured=True)
    """HEIGHTxWIDTH that frames are resized to when they are read; null keeps the stored size."""
    crop: str | None = option(None, check=parse_size, column="crop")
    """HEIGHTxWIDTH of the random window that training sees of a frame; null trains on whole frames."""
    num_workers: int = option(1, least=0, decides=False, former="workers")
    """Threads of each rank that load frames ahead; 0 loads when they are needed."""
    shuffle_window: int = option(32, least=1, former="window")
    """Shards whose samples are mixed with each other; each holds a file open."""


@dataclass
class Pseudo:
    """Where a task's pseudo-labels come from."""

    teacher: str = option("???", path=True, by_name=True)
    """Configuration file of the teacher, relative to the file that names it."""
    inputs: list[str] | None = None
    """Inputs of the teacher in place of those in its file. It is then trained without pseudo-labels, in a run named
    after them, so that a student's own file can describe its teacher."""
    keep: int | float | str = option(0.9, check=parse_keep)
    """The pixels that are learnt. A number is the paper's τ: those whose confidence is above it (depth has a confidence
    where its teacher labels with label.flip). all: every pixel. A share, 50%: the most confident pixels of each class.
    Or a filter of your own, my.module:name."""
    target: str = option("hard", choices=("hard", "soft"))
    """hard: the most probable class is learnt. soft: the teacher's whole distribution, at every pixel that is kept."""
    weight: str = option("none", choices=("none", "confidence"))
    """none: all pixels that are kept have the same weight. confidence: each is weighted by its confidence."""
    holes: bool = False
    """Learn from the teacher also where the ground truth of a frame has no label, such as in a sparse depth map. Ground
    truth takes precedence wherever there is any. Teachers then label all frames (label.frames)."""


@dataclass
class Model:
    """The network."""

    name: str = option(MTINET, choices=(MTINET, FPN, DPT), custom=True, row=True)
    """mtinet: MTI-Net. fpn: a light feature pyramid. dpt: a vision transformer with the DPT decoder. Or a class of your
    own, my.module:Name."""
    backbone: str = option("hrnet_w18", column="backbone")
    """A timm model with features at strides 4, 8, 16 and 32; one is made for each input. For dpt: a vision transformer,
    such as vit_small_patch14_dinov2, one for all inputs."""
    pretrained: Any = option(False, path=True, column="pretrained")
    """true: ImageNet weights from timm's hub; package: those of the pip package with this backbone's weights; false:
    none; a path: a local .safetensors file. RGB is normalised as the weights were trained."""
    pretrained_inputs: list[str] | None = option(None, check=check_unique)
    """The inputs whose backbones start from the pretrained weights; null for all, [rgb] as in the paper."""
    start: str | None = option(None, path=True, inherited=False)
    """An exported network, such as RUN/checkpoints/last, that this one starts from, in place of `pretrained`: to
    fine-tune it on other frames, or to train on. Heads of other tasks or classes start anew, which is reported."""
    norm: str = option("batch", choices=("batch", "sync", "frozen"))
    """Batch norm over a rank's micro-batch (batch), over that of all ranks (sync, on GPUs), or with the statistics of
    the initial weights, unchanged (frozen)."""
    decoder: str = option("mti", choices=("mti", "heads"), row=True)
    """Of mtinet. mti: MTI-Net's initial predictions, feature propagation and distillation, and a head for each task.
    heads: the heads alone."""
    widths: list[int] | None = option(factory=lambda: list(HRNET_W18_WIDTHS), check=check_widths)
    """Of mtinet. Channels of the decoder at strides 4, 8, 16 and 32, by default HRNet-w18's; features of other widths
    are projected. null keeps the backbone's own, to which the decoder's size is quadratic."""
    fusion: str = option("add", choices=("add", "early"), inherited=False, row=True)
    """add: a backbone for each input, features added at each scale (FFM). early: RGB-D as four channels into one."""


@dataclass
class Loss:
    """The sum over tasks of weight × loss; the paper's L = L_D + α·L_S has α = weights.semseg."""

    weights: dict[str, float] = field(default_factory=dict)
    """Weight of each task's loss; 1 where none is given."""
    weighting: str = option("fixed", choices=("fixed", "uncertainty", "dwa"), custom=True)
    """fixed: by `weights` alone. uncertainty: also by a learnt uncertainty of each task (Kendall et al. 2018). dwa:
    also by how fast each loss falls (Liu et al. 2019). Or a class of your own, my.module:Name."""
    logit_adjustment: float = option(0.0, least=0)
    """How far the loss of ground-truth classes compensates for their frequencies, 0 (not) to 1 (fully): τ of Menon et
    al. (2021). More rare classes are found, and fewer pixels are right."""
    soft_adjustment: float = option(0.0, least=0, inherited=False, row=True)
    """The same for the frequencies of classes in soft labels, in a student's loss. A student is less certain than its
    teacher, and falls back on frequent classes more often."""
    normalise: str = option("labelled", choices=("labelled", "all"), row=True, column="normalise")
    """labelled: divide by the labelled pixels of the global batch. all: by all its pixels, so that a missing label
    counts as a zero loss."""
    deep: float = option(1.0, least=0)
    """Weight of each scale's initial prediction in the loss (deep supervision)."""
    deep_cells: int = option(8, least=1)
    """Scales whose map has fewer cells along its shorter side are left out of deep supervision."""


@dataclass
class Augment:
    """Random changes of training frames, the same for RGB and labels of a frame. The reference recipe for NYUDv2 flips,
    and zooms about the centre; windows at random places and colour jitter are additions."""

    flip: bool = True
    """Mirror every second frame."""
    zoom: list[float] = option(factory=lambda: [1.0, 1.2, 1.5], check=check_zoom)
    """Factors of which one is drawn; depth is divided by it, inverse depth multiplied by it."""
    zoom_window: str = option("random", choices=("random", "centre"))
    """What a zoom enlarges. random: a window anywhere in the frame. centre: the centre of the frame, or of the crop."""
    jitter: float = option(0.2, least=0, most=1, wrong="is not a share")
    """Largest relative change of brightness, contrast and saturation; 0 for none."""
    grey: float = option(0.0, least=0, most=1, wrong="is not a share")
    """Share of frames without colour."""
    blur: float = option(0.0, least=0, most=1, wrong="is not a share")
    """Share of frames that are blurred, by a Gaussian of 0.1 to 2 pixels."""
    cutmix: float = option(0.0, least=0, most=1, wrong="is not a share")
    """Share of frames in which a box is replaced by that of the next frame of the batch, labels included."""


@dataclass
class Train:
    """Optimisation."""

    epochs: int = option(100, least=1, column="epochs")
    """Passes over the frames of the experiment."""
    steps: int | None = option(None, least=1, column="steps")
    """Optimizer steps, instead of epochs."""
    global_batch_size: int = option(8, least=1, former="global_batch")
    """Frames of an optimizer step, over all ranks and accumulation steps."""
    pseudo_share: float | None = option(
        None, least=0, most=1, wrong="is not a share", give="0 to 1, or null", inherited=False, row=True
    )
    """Share of frames with pseudo-labels in every global batch, if there are any; null draws from all frames alike."""
    gradient_accumulation_steps: int = option(1, least=1, decides=False, former="accumulation")
    """Micro-batches of a step on each rank."""
    optimizer: str = option("adam", choices=("adam", "adamw"))
    """adam (weight decay as an L2 penalty, as in the reference recipe) or adamw (decoupled)."""
    lr: float = option(1e-4, least=0)
    """Learning rate at the start."""
    weight_decay: float = option(1e-4, least=0)
    """Weight decay."""
    schedule: str = option("polynomial", choices=("polynomial", "cosine", "constant"))
    """polynomial: lr × (1 − step/steps)^0.9. cosine: half a cosine down to 0. constant."""
    warmup_steps: int = option(0, least=0, former="warmup")
    """Steps over which the learning rate rises linearly to the schedule's value."""
    max_grad_norm: float | None = option(
        None, above=0, wrong="is not a norm", give="more than 0, or null for no limit", former="clip"
    )
    """Largest norm of the gradient; null for no limit."""
    ema: float | None = option(None, above=0, below=1, wrong="is not a decay", give=_DECAY)
    """Decay at each step of an average of the weights (EMA), such as 0.999, which is evaluated, exported and used for
    labelling in their place; null for the weights themselves."""
    precision: str = option("fp32", choices=("fp32", "bf16", "fp16"))
    """fp32, bf16 or fp16 (mixed precision)."""
    channels_last: bool = True
    """Memory format of images and weights; faster for convolutions on most devices."""
    compile: bool = False
    """torch.compile the network."""
    timeout: int = option(600, least=30, decides=False)
    """Seconds that a rank waits for the others before it gives up."""
    trace: bool = option(False, decides=False)
    """Write order.jsonl: the keys of every global batch, in position order."""
    log_every: int = option(10, least=1, decides=False)
    """Steps between lines of metrics.jsonl."""


@dataclass
class Evaluate:
    """Validation."""

    every: int = option(0, least=0)
    """Epochs between evaluations during training, of which the best checkpoint is kept; 0 for none."""
    best: str = option("semseg.miou", inherited=False)
    """TASK.METRIC by which the best checkpoint is chosen."""
    checkpoint: str = option("last", choices=("last", "best"))
    """last or best: the one that the table shows, and that is used for labelling."""
    split: str = option("val", choices=("val", "dev"), inherited=False, measured=True)
    """val, or dev for the training frames that `dev` sets aside."""
    batch_size: int = option(8, least=1, former="batch")
    """Frames of a forward pass on each rank."""
    resolution: str = option("network", choices=("network", "label"), measured=True)
    """network: labels are resized to the network's input size. label: the network's outputs are resized to the stored
    size of labels, before a class is chosen."""
    range: dict[str, list[float]] = option(factory=dict, check=check_limits, measured=True)
    """Smallest and largest ground truth that is measured, by scalar task, in its unit: {depth: [0.001, 10]}.
    Predictions are clamped to this range. By default all ground truth."""
    crop: str | None = option(None, choices=("eigen", None), measured=True)
    """eigen: scalar tasks are measured in the window of Eigen et al. for NYUDv2, [45:471, 41:601] of 480x640 and in
    proportion at other sizes. null: on whole frames."""


@dataclass
class Label:
    """The teacher's labelling pass."""

    batch_size: int = option(8, least=1, former="batch")
    """Frames of a forward pass."""
    frames: str = option("missing", choices=("missing", "all"))
    """missing: label frames that do not show the predicted label. all: label all, for students that learn `holes`."""
    flip: bool = False
    """Label with the mean of the network's outputs for a frame and for its mirror image. Quantities and vectors then
    have a confidence: how far the two agree."""
    soft: int = option(4, least=0)
    """Number of classes of each pixel's distribution that are stored, the most probable ones, for students that learn
    soft labels; 0 stores none."""
    soft_scale: int = option(2, least=1)
    """Soft labels are stored at the frame's height and width divided by this."""
    store: str | None = option(None, check=check_url)
    """URL of a folder that the label shards are also written to when all are complete, such as
    s3://bucket/labels/${experiment}/seed-${seed}; students read them there where the teacher's run is not available."""
    threshold: float = option(0.9, least=0, below=1, wrong="is not a threshold", give=_CONFIDENCE)
    """Confidence, in hundredths, for which the fraction of pixels above it is reported; all labels are stored."""


@dataclass
class Checkpoint:
    """Checkpoints, from which a run that is started again continues."""

    every: int | str = option(500, check=parse_every)
    """Optimizer steps between checkpoints, or minutes: 30m."""
    keep: int = option(2, least=1)
    """Number of checkpoints that are kept."""


@dataclass
class Run:
    """Folder of a run."""

    root: str = option("runs", path=True, check=check_local)
    """Folder of all runs."""
    path: str = option(
        "${run.root}/${data.name}/${experiment}/seed-${seed}", path=True, inherited=False, check=check_local
    )
    """Folder of this run."""
