"""`EnvStepLimit`: the first rollout that reaches the limit is the last."""

import keras
import pytest

import keras_rl_prob as krp


def test_stops_with_the_rollout_that_reaches_the_limit():
    env = "tf/CartPole-v1"
    agent = krp.PPO(krp.networks.feed_forward(env), rollout_steps=8, minibatches=2, update_epochs=1)
    agent.compile(run_eagerly=True)
    limit = krp.callbacks.EnvStepLimit(175)  # a rollout has at most 32 steps
    steps = agent.fit(env, epochs=4, steps_per_epoch=8, num_envs=4, callbacks=[limit], verbose=0, seed=0).history[
        "env_steps"
    ]
    assert len(steps) == 2, "the second epoch ends early, and no third begins"
    assert steps[0] < 175 - 32 < 175 <= steps[1] < 175 + 32
    assert int(agent.optimizer.iterations.numpy()) == 2 * 6


@pytest.mark.parametrize(("steps", "stops"), [(0, False), (99, False), (100, True), (10**9, True)])
def test_the_limit_itself_is_enough(steps, stops):
    limit, model = krp.callbacks.EnvStepLimit(100), keras.Model()
    model.stop_training = False
    limit.set_model(model)
    limit.on_train_batch_end(0, {"env_steps": float(steps)})
    assert model.stop_training == stops


@pytest.mark.parametrize("limit", [0, -5, 1e6, "many"])
def test_limit_must_be_a_positive_integer(limit):
    with pytest.raises(ValueError, match="`limit` must be a positive integer"):
        krp.callbacks.EnvStepLimit(limit)
