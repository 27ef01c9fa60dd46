"""A raw frame as the members of a sample: image and labels at one size, encoded as the profile stores them."""

import json

from shards.codec import decode_rgb, rgb_extension
from shards.errors import UserError
from shards.members import Profile, encode_picture, label_format
from shards.notes import member_context, note
from shards.resize import resize_label, resize_rgb
from shards.sources.base import Frame
from shards.tasks import Task
from shards.write import EncodedSample


def encode(
    frame: Frame, key: str, tasks: tuple[Task, ...], size: tuple[int, int] | None, profile: Profile = "archive"
) -> EncodedSample:
    """Encode a frame as the members of a shard.

    Raises:
        UserError: when an image does not decode, a label has another size than its image, or a class is out of range.
    """
    data, extension = None, ""
    if isinstance(frame.rgb, bytes):
        data, extension = frame.rgb, rgb_extension(frame.rgb) or ""
        with member_context("rgb", frame.files.get("rgb"), key):
            if not extension:
                raise UserError("is neither JPEG, PNG nor WebP", hint="convert it to one of them")
            rgb = decode_rgb(data, extension)
    else:
        rgb = frame.rgb
    original = rgb.shape[:2]
    if size and original != size:
        rgb, data = resize_rgb(rgb, size), None
    extension, data = encode_picture(rgb, data, extension, profile)
    members, statistics, suffix = {f"rgb.{extension}": data}, {}, label_format(profile)
    for task in tasks:
        label = frame.labels.get(task.name)
        if label is None:
            continue
        with member_context(task.name, frame.files.get(task.name), key):
            if label.shape[:2] != original:
                task.storage.check_size(label.shape[:2], original)
            label = resize_label(label, size or original)
            if not task.storage.labelled(label).any():
                note("no pixel has a label: the frame counts as one without this label")
                continue
            members[f"{task.name}.{suffix}"] = task.storage.encode(label, suffix)
        statistics[task.name] = task.storage.statistics(task.storage.storable(label))
    meta = {"original_size": [int(side) for side in original], **frame.meta}
    members["json"] = json.dumps(meta, separators=(",", ":")).encode()
    return EncodedSample(key, members, statistics)
