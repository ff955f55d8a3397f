"""`CheckObservation`: what raises an error, and the error message."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from scripts import Script

from keras_rl_prob.envs import CheckObservation

SPACE = Dict({"place": Box(-1, 1, (2,)), "side": Discrete(2)})


def observation(place=(0.0, 0.0), side=0):
    return {"place": np.array(place, np.float32), "side": side}


def test_what_fits_is_handed_on():
    rows = [observation(), observation((0.5, -0.5), 1), {**observation(), "more": 1}]
    env = CheckObservation(Script(SPACE, [rows]))
    assert env.reset(seed=1)[0] is rows[0]
    assert [env.step(0)[0] for _ in range(2)] == rows[1:]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (observation(place=[0.5]), r"The observation 'place' must have the shape \(2,\). Received: \(1,\)"),
        (observation(side=0.5), r"The observation 'side' must have the dtype int64. Received: float"),
        ({"place": np.zeros(2)}, r"The observation must have the keys \['place', 'side'\]. Received: \['place'\]"),
    ],
)
def test_the_first_misfit_raises_and_is_named(changed, message):
    env = CheckObservation(Script(SPACE, [[observation()] * 3, [observation(), changed, observation()]]))
    env.reset()
    env.step(0)
    env.reset()
    with pytest.raises(ValueError, match=rf"{message} at step 1 of episode 2, from <Script instance>$"):
        env.step(0)


def test_the_reset_is_looked_at_too():
    env = CheckObservation(Script(SPACE, [[observation(place=[0.5]), observation()]]))
    with pytest.raises(ValueError, match=r"Received: \(1,\) at step 0 of episode 1"):
        env.reset()
