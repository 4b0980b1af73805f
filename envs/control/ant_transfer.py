"""Ant with two legs disabled, for rewards that are to be carried over (Fu, Luo and Levine, 2018).

The paper "disables and shrinks" two legs, so that the robot must move in another way. As in its
code, thigh and shin of both legs are half as long, and their motors turn with a gear of 1 instead of
150. States, actions and the reward are those of Gymnasium's Ant-v5.

The paper names the front legs; in its code it is the pair on one side. In Gymnasium's model file the
legs called front are such a pair too: the robot runs along x, and both stand on the side of positive
y. The two choices are mirror images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gymnasium.envs.mujoco.ant_v5 as ant

from irlbench.envs.control.environments import quiet_mujoco

LEGS = ("front_left_leg", "front_right_leg")
SHRUNK, GEAR = 0.5, 1.0


def disabled(xml: str) -> str:
    """Gymnasium's model of the ant with two legs shrunk and their motors all but gone.

    Args:
        xml: The text of `ant.xml`.
    """
    root = ElementTree.fromstring(xml)
    motors = {motor.get("joint"): motor for motor in root.iter("motor")}
    for name in LEGS:
        leg = next(body for body in root.iter("body") if body.get("name") == name)
        thigh = _below(leg)
        shin = _below(thigh)
        _scale(thigh, "geom", "fromto")
        _scale(shin, "geom", "fromto")
        shin.set("pos", _scaled(shin.get("pos", "")))  # it begins where the thigh ends
        for part in (thigh, shin):
            motors[_only(part, "joint").get("name")].set("gear", f"{GEAR:g}")
    return ElementTree.tostring(root, encoding="unicode")


def _only(part: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = part.find(tag)
    if found is None:
        raise ValueError(f"the ant's model has no {tag} in {part.attrib}")
    return found


def _below(part: ElementTree.Element) -> ElementTree.Element:
    return _only(part, "body")


def _scale(part: ElementTree.Element, tag: str, key: str) -> None:
    found = _only(part, tag)
    found.set(key, _scaled(found.get(key, "")))


def _scaled(numbers: str) -> str:
    return " ".join(f"{SHRUNK * float(number):g}" for number in numbers.split())


class AntTransferEnv(ant.AntEnv):
    """Gymnasium's Ant-v5 with two legs disabled; see the module.

    Args:
        **kwargs: Of `AntEnv`, but no other model file.
    """

    def __init__(self, **kwargs: Any) -> None:
        quiet_mujoco()
        super().__init__(**kwargs)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        import mujoco

        model = mujoco.MjModel.from_xml_string(disabled(Path(self.fullpath).read_text("utf-8")))
        visual = model.vis.global_
        visual.offwidth = max(visual.offwidth, self.width)
        visual.offheight = max(visual.offheight, self.height)
        return model, mujoco.MjData(model)
