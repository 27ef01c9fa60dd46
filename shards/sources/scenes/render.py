"""Rendering of :mod:`shards.sources.scenes`: from a room and a camera to RGB, depth and classes.

Deferred shading: rays find the nearest box of every pixel, then all pixels are textured and lit at once.
"""

from dataclasses import dataclass

import numpy as np

from shards.sources.scenes.geometry import Boxes, Camera, cast, rotate, shadowed
from shards.sources.scenes.materials import paint
from shards.sources.scenes.room import SHELL, Light, Room

CHUNK = 1 << 14
"""Number of pixels that are tested for shadow at once; limits memory for large images."""
HAIR = np.float32(2e-3)
"""Metres that points are lifted off their surface before shadow tests."""


@dataclass(frozen=True)
class Hits:
    """The surface points that rays hit, for all N pixels in row-major order.

    Args:
        depth: z-depth in metres, ``(N,)``.
        surface: index into the room's labels and finishes, ``(N,)``: its six faces, then its boxes.
        point: position in the world, ``(3, N)``.
        normal: unit normal that faces the camera, ``(3, N)``.
        face: position on the face along its longer and shorter side, metres, ``(2, N)``.
        height: position across the face, 0..1, upwards on upright faces, ``(N,)``.
        shift: texture offset of the box, so that textures of equal boxes differ, ``(N,)``.
    """

    depth: np.ndarray
    surface: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    face: np.ndarray
    height: np.ndarray
    shift: np.ndarray


def trace(camera: Camera, boxes: Boxes) -> Hits:
    """Cast every pixel's ray."""
    depth, index = (array.reshape(-1) for array in cast(camera, boxes))
    point = camera.position.astype(np.float32)[:, None] + depth * camera.rays().reshape(3, -1)
    half = boxes.half[:, index]
    local = boxes.to_local(point - boxes.centre[:, index], index)
    axis = np.abs(np.abs(local) - half).argmin(0)  # the face that the point lies on is across this axis
    every = np.arange(index.size)
    side = np.sign(local[axis, every])
    normal = np.zeros_like(local)
    normal[axis, every] = np.where(index == 0, -side, side)
    u, v = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]  # x: (y, z), y: (x, z), z: (x, y)
    height = (local[v, every] / half[v, every] * 0.5 + 0.5).clip(0, 1)
    u, v = np.where(half[u, every] >= half[v, every], (u, v), (v, u))
    return Hits(
        depth=depth,
        surface=np.where(index == 0, 2 * axis + (side > 0), index + len(SHELL) - 1),
        point=point,
        normal=np.stack(rotate(normal, boxes.yaw[index])),
        face=np.stack([local[u, every], local[v, every]]),
        height=height,
        shift=(index * np.float32(0.618034)) % 1 * 16,
    )


def render(room: Room, camera: Camera, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render one frame.

    Returns:
        RGB uint8 ``(H, W, 3)``; z-depth in metres, float32 ``(H, W)``; index into ``room.labels``, ``(H, W)``.
    """
    hits = trace(camera, room.boxes)
    rays = hits.point - camera.position.astype(np.float32)[:, None]
    distance = np.sqrt((rays**2).sum(0))
    toward = -rays / distance
    facing = np.abs((toward * hits.normal).sum(0)).clip(0.05, 1)
    finish = room.finish[hits.surface]
    albedo = paint(
        room.materials,
        finish,
        hits.face[0] + hits.shift,
        hits.face[1] + hits.shift,
        hits.height,
        hits.depth / np.float32(camera.focal) / facing,
    )
    glow = np.array([material.glow for material in room.materials], np.float32)[finish]
    gloss = np.array([material.gloss for material in room.materials], np.float32)[finish]
    light, shine = illuminate(room, hits, toward, camera.size, rng)
    radiance = albedo * (light + glow) + gloss * shine
    rgb = expose(radiance.reshape(3, *camera.size), rng)
    return rgb, hits.depth.reshape(camera.size), hits.surface.reshape(camera.size)


def illuminate(
    room: Room, hits: Hits, toward: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return diffuse and specular light at every point, ``(3, N)`` each."""
    ambient = occlusion(room, hits) * (0.8 + 0.2 * hits.normal[2])
    diffuse = room.ambient.astype(np.float32)[:, None] * ambient
    shine = np.zeros_like(diffuse)
    for number, light in enumerate(room.lights):
        ray = light.position.astype(np.float32)[:, None] - hits.point
        squared = (ray**2).sum(0)
        ray /= np.sqrt(squared)
        cosine = (ray * hits.normal).sum(0).clip(0)
        strength = cosine / (0.4 + squared)
        if number == 0:  # shadow rays for the strongest light only
            strength *= visibility(room.boxes, hits, light, size, rng)
        halfway = ray + toward
        halfway /= np.sqrt((halfway**2).sum(0))
        mirrored = (halfway * hits.normal).sum(0).clip(0) ** 40
        colour = light.colour.astype(np.float32)[:, None]
        diffuse += colour * strength
        shine += colour * strength * mirrored
    return diffuse, shine


def occlusion(room: Room, hits: Hits) -> np.ndarray:
    """Return the share of ambient light that reaches each point, ``(N,)``, 0..1.

    Corners of the room and points near the floor are darker, and so are floor and walls close to furniture.
    """
    size = np.array(room.size, np.float32)[:, None]
    gap = np.minimum(hits.point, size - hits.point)
    shade = np.exp(gap / np.float32(-0.35)) * (1 - np.abs(hits.normal))
    openness = np.prod(1 - 0.45 * shade, axis=0)
    shell = np.flatnonzero(hits.surface < len(SHELL))
    point = hits.point.take(shell, axis=1)
    dim = np.ones(shell.size, np.float32)
    for prism in room.solid:
        middle = np.array(prism.middle, np.float32)
        x, y, z = rotate(point - middle[:, None], np.float32(-prism.yaw))
        squared = np.maximum(np.abs(x) - np.float32(prism.wide), 0) ** 2
        squared += np.maximum(np.abs(y) - np.float32(prism.deep), 0) ** 2
        squared += np.maximum(np.abs(z) - np.float32((prism.high - prism.low) / 2), 0) ** 2
        dim *= 1 - np.float32(0.5) * np.exp(np.sqrt(squared) / np.float32(-0.15))
    openness[shell] *= dim
    return openness


def visibility(boxes: Boxes, hits: Hits, light: Light, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the share of a light that each point sees, ``(N,)``, 0..1: soft shadows with half a ray per pixel.

    Rays are cast for the black squares of a chessboard, on even rows to one half of the light, on odd rows to the
    other. A tent filter then weights both halves equally at every pixel, black or white.
    """
    height, width = size
    row, column = np.indices(size).reshape(2, -1)
    black = np.flatnonzero((row + column) % 2 == 0)
    offset = rng.normal(size=3)
    offset *= light.radius / np.linalg.norm(offset)
    centre = light.position.astype(np.float32)
    targets = np.stack([centre + offset.astype(np.float32), centre - offset.astype(np.float32)], axis=1)
    seen = np.zeros(height * width, np.float32)
    for chunk in np.array_split(black, -(-black.size // CHUNK)):
        points = hits.point.take(chunk, axis=1) + HAIR * hits.normal.take(chunk, axis=1)
        seen[chunk] = ~shadowed(points, targets.take(row[chunk] % 2, axis=1), centre, light.radius, boxes)
    return 2 * blur(seen.reshape(1, height, width), 0.25).reshape(-1)


def blur(image: np.ndarray, share: float) -> np.ndarray:
    """Apply a 3 × 3 filter to ``(C, H, W)``, with weight ``share`` per neighbour along an axis; edges are repeated."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (1 - 2 * share) * padded[:, 1:-1] + share * (padded[:, :-2] + padded[:, 2:])
    return (1 - 2 * share) * rows[:, :, 1:-1] + share * (rows[:, :, :-2] + rows[:, :, 2:])


def expose(radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulate a cheap camera: linear radiance ``(3, H, W)`` to 8-bit sRGB ``(H, W, 3)``.

    Lens blur, vignetting, slightly wrong automatic exposure and white balance, a soft shoulder, shot and read noise,
    quantisation.
    """
    _, height, width = radiance.shape
    image = blur(radiance, rng.uniform(0.0, 0.12))
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    image *= 1 - np.float32(rng.uniform(0.05, 0.2)) * (x**2 + y**2)
    grey = image.mean(axis=(1, 2))
    balance = (grey.mean() / grey) ** 0.5 * rng.uniform(0.93, 1.07, 3)
    exposure = rng.uniform(0.24, 0.46) / max(float(np.median(image)), 1e-4)
    image *= (exposure * balance).astype(np.float32)[:, None, None]
    image = 1 - np.exp(-image)
    noise = rng.standard_normal(image.shape, np.float32)
    image += noise * np.sqrt(np.float32(rng.uniform(0.2e-4, 4e-4)) * image + np.float32(rng.uniform(0, 0.006) ** 2))
    srgb = image.clip(0, 1) ** np.float32(1 / 2.2)
    return np.ascontiguousarray((srgb * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
