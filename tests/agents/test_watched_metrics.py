"""`compile(metrics=...)`: norms of gradients and KL divergences of rows, only if asked for; terms of the loss in the logs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_rl_prob as krp

ENV = "tf/CartPole-v1"


class Noting:
    """Notes, when it runs eagerly, the KL divergence of each row after the last update with it, by its old logits."""

    def after_update(self, data):
        super().after_update(data)
        old = data.parameters.numpy().reshape(-1, 2)
        new = self.network(tf.reshape(data.observation, (-1, 4)))["action"].numpy()
        odds, others = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (old.astype(float), new.astype(float)))
        kl = np.sum(np.exp(odds) * (odds - others), -1)
        self.noted |= dict(zip(map(tuple, old.tolist()), kl.tolist(), strict=True))


ONCE = {"rollout_steps": 8}
ON_POLICY = {
    "PPO": (krp.PPO, {"minibatches": krp.Minibatches(2, sequence_length=4), "update_epochs": 2, **ONCE}),
    "A2C": (krp.A2C, ONCE),
    "IMPALA": (krp.IMPALA, {"lag": 1, **ONCE}),
    "Reinforce": (krp.Reinforce, {"max_episode_steps": 8}),
}


def fitted(metrics=(), kind=krp.PPO, optimizer=None, steps=4, run_eagerly=False, **arguments):
    keras.utils.set_random_seed(1)
    if kind is krp.PPO:
        arguments = {"minibatches": 2, "update_epochs": 2, "rollout_steps": 8, **arguments}
    agent = kind(krp.networks.feed_forward(ENV, (8,), value=not issubclass(kind, krp.Reinforce)), **arguments)
    agent.noted = {}
    agent.compile(optimizer or keras.optimizers.SGD(0.5), jit_compile=False, run_eagerly=run_eagerly, metrics=metrics)
    agent.build(ENV)
    before = [x.numpy() for x in agent.network.trainable_variables]
    kept = {}
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.update(agent.last_rollout))
    history = agent.fit(ENV, steps_per_epoch=steps, num_envs=4, seed=0, verbose=0, callbacks=[note]).history
    changes = [a - b.numpy() for a, b in zip(before, agent.network.trainable_variables, strict=True)]
    return agent, {name: values[0] for name, values in history.items()}, kept, changes


def norm(arrays):
    return float(np.sqrt(sum(np.sum(np.square(x.astype(float))) for x in arrays)))


def test_the_norm_of_the_gradient_is_that_of_a_step_of_gradient_descent():
    once = {"minibatches": 1, "update_epochs": 1, "steps": 1}
    agent, logs, _, changes = fitted(["gradient_norm", "gradient_norm_of_layers"], **once)
    assert logs["gradient_norm"] == pytest.approx(norm(changes) / 0.5, rel=1e-3)
    for layer in ("dense", "dense_1", "dense_2", "value"):
        own = [
            x
            for x, v in zip(changes, agent.network.trainable_variables, strict=True)
            if v.path.rpartition("/")[0] == layer
        ]
        if own:
            assert logs[f"gradient_norm_{layer}"] == pytest.approx(norm(own) / 0.5, rel=1e-3)
    layers = [x for name, x in logs.items() if name.startswith("gradient_norm_")]
    assert len(layers) >= 3
    assert norm([np.array(layers)]) == pytest.approx(logs["gradient_norm"], rel=1e-4)
    clipped = fitted(["gradient_norm"], optimizer=keras.optimizers.SGD(0.5, global_clipnorm=1e-3), **once)
    assert norm(clipped[-1]) == pytest.approx(0.5e-3, rel=1e-2)
    assert clipped[1]["gradient_norm"] == pytest.approx(logs["gradient_norm"], rel=1e-5)  # before it is clipped


def test_the_norm_is_that_of_the_unscaled_loss():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=1024.0)
    once = {"minibatches": 1, "update_epochs": 1, "steps": 1}
    plain, other = (fitted(["gradient_norm"], optimizer=x, **once)[1]["gradient_norm"] for x in (None, scaled))
    assert other == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("name", ON_POLICY)
def test_the_kl_divergence_of_each_row_is_that_after_the_last_update_with_it(name):
    kind, arguments = ON_POLICY[name]
    agent, _, rollout, _ = fitted(["row_kl"], type(name, (Noting, kind), {}), run_eagerly=True, **arguments)
    kl, valid = rollout["kl"], rollout["valid"]
    assert kl.shape == (8, 4)
    expected = [agent.noted[tuple(key)] for key in rollout["parameters"][valid].tolist()]
    np.testing.assert_allclose(kl[valid], expected, rtol=1e-3, atol=1e-6)
    assert kl.max() > 1e-4
    assert len(set(kl[valid].tolist())) > 20


def test_the_terms_of_the_loss_are_logged_and_add_up_to_it():
    penalty = krp.KLPenalty(target=1e-4, initial_beta=2.0, cutoff_coef=50.0)
    network = krp.networks.regularize(krp.networks.feed_forward(ENV, (8,)), 1e-3)
    agent = krp.PPO(network, minibatches=2, update_epochs=2, rollout_steps=8, kl_penalty=penalty)
    agent.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    history = agent.fit(ENV, steps_per_epoch=4, num_envs=4, seed=0, verbose=0).history
    logs = {name: values[0] for name, values in history.items()}
    assert logs["kl_penalty"] == pytest.approx(2.0 * logs["kl"], rel=1e-4)
    terms = [logs[name] for name in ("kl_penalty", "kl_cutoff", "regularization_loss")]
    assert min(terms) > 0
    total = logs["policy_loss"] + 0.5 * logs["value_loss"] - 0.01 * logs["entropy"] + sum(terms)
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


def test_what_is_not_asked_for_is_not_there_and_asking_changes_nothing():
    plain, logs, rollout, changes = fitted()
    assert not {"kl_penalty", "kl_cutoff", "regularization_loss"} & set(logs)
    assert not [name for name in logs if name.startswith("gradient")]
    assert "kl" not in rollout
    watched, *_, others = fitted(["gradient_norm", "gradient_norm_of_layers", "row_kl"])
    for x, y in zip(changes, others, strict=True):
        np.testing.assert_array_equal(x, y)
    assert plain.watched == ()
    assert watched.watched == ("gradient_norm", "gradient_norm_of_layers", "row_kl")


def test_each_part_has_a_norm_of_its_own(tmp_path):
    agent = krp.TD3(
        replay=krp.ReplaySettings(capacity=500, batch_size=8, learning_starts=16), updates=4, policy_period=1
    )
    agent.compile(jit_compile=False, metrics=["gradient_norm"])
    logs = agent.fit("tf/Pendulum-v1", num_envs=4, epochs=1, steps_per_epoch=20, seed=0, verbose=0).history
    assert logs["critic_gradient_norm"][0] > 0 < logs["actor_gradient_norm"][0]
    agent.save(tmp_path / "agent.keras")
    again = keras.saving.load_model(tmp_path / "agent.keras")
    assert again.watched == ("gradient_norm",)
    old = {key: value for key, value in agent.get_compile_config().items() if key != "metrics"}
    again.compile_from_config(old)  # a file of an earlier version
    assert again.watched == ()


@pytest.mark.parametrize("wrong", [["accuracy"], "gradient_norm", [keras.metrics.Mean()], 3])
def test_other_metrics_are_refused(wrong):
    with pytest.raises(
        ValueError, match=r"`metrics` must be a list of names of \['gradient_norm', .*Received: metrics="
    ):
        krp.PPO().compile(metrics=wrong)
    for kind in (krp.DQN, krp.ACER):
        with pytest.raises(
            ValueError, match=r"beside those that `\w+` always has; 'row_kl' is for agents that learn from"
        ):
            kind().compile(metrics=["row_kl"])


def test_presets_ask_for_metrics_too():
    config = {"env": {"id": ENV}, "agent": {"class": "PPO"}, "compile": {"metrics": ["gradient_norm"]}}
    assert krp.presets.build(config).watched == ("gradient_norm",)
