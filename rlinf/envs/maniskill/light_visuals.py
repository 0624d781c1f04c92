"""Draw robot links as their collision hulls, so that a software renderer can keep up.

On a machine without a GPU the cost of an image is the number of vertices, and ManiSkill's Panda has
about 400,000 of them. Its collision hulls have about 1,000. Swapping one for the other cuts a 64
pixel image from about 20 CPU ms to about 2. The arm looks plainer than in the stock picture (one
grey, angular hulls), so images and success rates are not comparable with runs on stock visuals.

Only rendering changes. Collision shapes, masses, joints and controllers are not touched, so the
same seed and actions give the same states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import sapien
    from mani_skill.envs.sapien_env import BaseEnv

# Links whose stock mesh is already light (the fingers) keep it: they matter for reaching.
LIGHT_ENOUGH_VERTICES = 4000
HULL_COLOR = (0.9, 0.9, 0.92, 1.0)


def use_collision_hulls_as_visuals(env: BaseEnv) -> int:
    """Swap heavy link meshes of `env`'s robot for the links' own convex collision hulls.

    Call it once after the env is built, and again whenever ManiSkill rebuilds the scene (a reset
    with `options={"reconfigure": True}`). Returns the number of links that were changed.
    """
    changed = 0
    for link in env.agent.robot.links:
        for body in link._objs:  # one sapien body per parallel scene; no public accessor
            changed += _swap_link_visual(body)
    return changed


def _swap_link_visual(body: sapien.physx.PhysxArticulationLinkComponent) -> int:
    """Replace the visual of one link; 0 if it is light already or has no convex hull, else 1."""
    import sapien

    entity = body.entity
    old = entity.find_component_by_type(sapien.render.RenderBodyComponent)
    hulls = [
        shape
        for shape in body.collision_shapes
        if isinstance(shape, sapien.physx.PhysxCollisionShapeConvexMesh)
    ]
    if old is None or not hulls or _vertex_count(old) <= LIGHT_ENOUGH_VERTICES:
        return 0
    new = sapien.render.RenderBodyComponent()
    for hull in hulls:
        new.attach(_hull_mesh(hull))
    entity.remove_component(old)
    entity.add_component(new)
    return 1


def _vertex_count(visual: sapien.render.RenderBodyComponent) -> int:
    """Vertices of all triangle meshes of a visual; shapes without a mesh (boxes) count as 0."""
    parts = [part for shape in visual.render_shapes for part in getattr(shape, "parts", [])]
    return sum(len(part.vertices) for part in parts)


def _hull_mesh(
    hull: sapien.physx.PhysxCollisionShapeConvexMesh,
) -> sapien.render.RenderShapeTriangleMesh:
    """A flat-shaded triangle mesh of the hull, in the link's frame."""
    import sapien

    corners, normals = flat_shaded(np.asarray(hull.vertices) * hull.scale, hull.triangles)
    material = sapien.render.RenderMaterial(base_color=HULL_COLOR)
    material.roughness = 0.6
    mesh = sapien.render.RenderShapeTriangleMesh(
        corners,
        np.arange(len(corners), dtype=np.uint32).reshape(-1, 3),
        normals,
        np.zeros((len(corners), 2), dtype=np.float32),
        material,
    )
    mesh.local_pose = hull.local_pose
    return mesh


def flat_shaded(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give every triangle its own three corners, with the face normal on each.

    vertices [V, 3] float (metres), triangles [F, 3] int, counter-clockwise seen from outside.
    Returns corners [3F, 3] and unit normals [3F, 3], both float32.
    """
    faces = np.asarray(vertices, dtype=np.float32)[np.asarray(triangles, dtype=np.int64)]  # [F,3,3]
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return faces.reshape(-1, 3), np.repeat(normals, 3, axis=0).astype(np.float32)
