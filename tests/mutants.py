"""Mutation tests: breaks one line of the package at a time, and checks that its tests fail.

    make mutants            all of them; or: python tests/mutants.py NAME ...

Each mutant has a line, a broken replacement, and its guards: tests that must fail within a minute on a copy of the package with
the broken line. The exit status is 1 if they do not.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
SECONDS = 60


class Mutant(NamedTuple):
    """A line of a file below the package, what it is replaced by, and the tests that fail then."""

    file: str
    line: str
    broken: str
    guards: tuple[str, ...]


MUTANTS = {
    "dropped clip": Mutant(
        "ops/losses.py",
        "return tf.minimum(surrogate, tf.clip_by_value(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio) * advantages)",
        "return surrogate",
        ("tests/ops/test_losses.py", "tests/agents/test_ppo_loss.py"),
    ),
    "shifted bootstrap": Mutant(
        "sources/on_policy.py",
        'next_value = tf.concat([rollout.record["value"][1:], after[None]], 0)',
        'next_value = tf.concat([rollout.record["value"][:-1], after[None]], 0)',
        ("tests/agents/test_ppo_advantages.py",),
    ),
    "death for truncation": Mutant(
        "envs/gymnasium_env.py",
        "np.logical_not(terminated).astype(np.float32)",
        "np.logical_not(is_last).astype(np.float32)",
        ("tests/agents/test_ppo_advantages.py", "tests/envs/test_gymnasium_env.py"),
    ),
    "lost stop-gradient": Mutant(
        "agents/value_based/base.py",
        "return self._loss_of_errors(data, value, tf.stop_gradient(target))",
        "return self._loss_of_errors(data, value, target)",
        ("tests/agents/test_dqn_targets.py",),
    ),
    "stale recurrent state": Mutant(
        "drivers/driver.py",
        "return carry_after, (rows, carry[2])",
        "return carry_after, (rows, tf.nest.map_structure(tf.zeros_like, carry[2]))",
        ("tests/drivers/test_driver.py", "tests/agents/test_ppo_ratio.py::test_ratio_is_one_before_the_first_update"),
    ),
    "mask not applied": Mutant(
        "layers/dense_categorical.py",
        "logits = tf.where(mask, logits, MASKED_LOGIT)",
        "logits = tf.where(mask, logits, logits)",
        ("tests/layers/test_dense_categorical.py",),
    ),
    "wrong importance weight": Mutant(
        "replay/prioritized.py",
        "return (tf.reduce_min(priority, -1, keepdims=True) / priority) ** beta",
        "return (priority / tf.reduce_max(priority, -1, keepdims=True)) ** beta",
        ("tests/replay/test_prioritized.py",),
    ),
    "unsaved normaliser": Mutant(
        "layers/running_normalization.py",
        'self.variance = self.add_weight(name="variance", shape=features, initializer="ones", **options)',
        "self.variance = tf.Variable(tf.ones(features), trainable=False)",
        ("tests/agents/test_agent_surface.py::test_saved_and_loaded_agents_act_alike_and_go_on_alike",),
    ),
    "off-by-one in the ring": Mutant(
        "replay/ring.py",
        "return (self.head - self.size + age) % self.capacity",
        "return (self.head - self.size + age + 1) % self.capacity",
        ("tests/replay/test_ring.py", "tests/agents/test_replay_source.py"),
    ),
    "resumed seed": Mutant(
        "drivers/driver.py",
        "return [*(tf.nest.flatten(self._variables) if self._env.compilable else []), self._key]",
        "return tf.nest.flatten(self._variables) if self._env.compilable else []",
        ("tests/agents/test_contract.py::test_resume_is_exact[PPO]",),
    ),
    "rewards left unscaled": Mutant(
        "sources/on_policy.py",
        "reward = agent.reward_normalizer(reward)",
        "agent.reward_normalizer(reward)",
        ("tests/agents/test_ppo_advantages.py",),
    ),
    "updates after a failure": Mutant(
        "learning/model.py",
        "updates = tf.equal(self.failure, failures.NONE) & self.allows_update(data, logs)",
        "updates = tf.constant(True) & self.allows_update(data, logs)",
        ("tests/agents/test_agent_errors.py::test_native_numbers_that_are_no_use_are_named",),
    ),
    "kept memory": Mutant(
        "sources/replay.py",
        "self.ring.clear()",
        "pass",
        ("tests/agents/test_contract.py::test_seeds_decide_also_where_graphs_are_used_again[DQN]",),
    ),
    "stale environment": Mutant(
        "envs/native/native_env.py",
        "return _Same(type(self)), _compared([dict(vars(x)) for x in (self, *ancestry[: ancestry.index(NativeEnv)])])",
        "return _Same(type(self)), self.num_envs",
        ("tests/agents/test_reuse.py",),
    ),
    "actions counted from 0": Mutant(
        "border.py",
        'return x if getattr(space, "start", None) is None else x + tf.constant(space.start, x.dtype)',
        "return x",
        ("tests/test_border_properties.py", "tests/agents/test_border.py"),
    ),
    "steps that go back": Mutant(
        "learning/persistence.py",
        "= [self.env_steps, self.failure] if self._training and self._training.has_begun else []",
        "= []",
        ("tests/agents/test_resume.py::test_what_was_played_stays_counted_when_weights_are_restored",),
    ),
    "noise that stays": Mutant(
        "sources/on_policy.py",
        "self.agent.resample_noise(self.driver.key + [3, 0])",
        "pass",
        ("tests/agents/test_noisy_policies.py",),
    ),
    "an export that nobody ran": Mutant(
        "deployment/export.py",
        "if got[name].shape != value.shape or np.mean(same) < 0.8:  # two actions may be equally good",
        "if False:",
        ("tests/agents/test_export.py::test_what_does_not_act_as_the_agent_is_not_written",),
    ),
    "traces across an end": Mutant(
        "ops/off_policy.py",
        "decays = _counted(discounts * traces * continues, valid)",
        "decays = _counted(discounts * traces, valid)",
        ("tests/ops/test_off_policy.py",),
    ),
    "a trust region that pushes away": Mutant(
        "ops/off_policy.py",
        "return gradient - scale * kl_gradient",
        "return gradient + scale * kl_gradient",
        ("tests/ops/test_off_policy_gradients.py",),
    ),
    "padding that is cloned": Mutant(
        "imitation/sequences.py",
        '"valid": places >= 0',
        '"valid": places >= -1',
        ("tests/imitation/test_behavior_cloning.py::test_the_loss_is_that_of_every_recorded_step",),
    ),
    "wrong tokens served": Mutant(
        "envs/remote/server.py",
        "if not hmac.compare_digest(given.encode(), self.server.token.encode()):",
        "if False:",
        ("tests/envs/test_remote.py::test_what_is_refused_and_the_server_lives_on",),
    ),
    "steps taken twice": Mutant(
        "envs/remote/sessions.py",
        "if number != session.number:",
        "if True:",
        ("tests/envs/test_remote.py::test_a_connection_that_broke_is_made_again_and_a_request_takes_effect_once",),
    ),
}


def run_guards(mutant, folder):
    """Runs a mutant's guards on the package in a folder until one fails; returns the exit status and what pytest printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not long"]
    environment = os.environ | {"PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "2"}
    guards = [str(ROOT / guard) for guard in mutant.guards]
    run = subprocess.run(
        [*command, *guards], capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=600
    )
    return run.returncode, run.stdout


def broken_copy(mutant, folder):
    """Copies the package into a folder and breaks the line there."""
    shutil.copytree(ROOT / "keras_rl_prob", folder / "keras_rl_prob", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "keras_rl_prob" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.line) != 1:
        raise SystemExit(f"{mutant.file} must have this line once: {mutant.line}")
    path.write_text(text.replace(mutant.line, mutant.broken), encoding="utf-8")


def noticed(name, mutant):
    """Prints the result of a mutant; returns whether its guards failed in time."""
    with tempfile.TemporaryDirectory() as folder:
        broken_copy(mutant, pathlib.Path(folder))
        start = time.perf_counter()
        status, output = run_guards(mutant, folder)
        seconds = time.perf_counter() - start
    lines = [line.removeprefix("FAILED ") for line in output.splitlines() if line.startswith("FAILED ")]
    failed = [line.split(" - ")[0] for line in lines]
    caught = status == 1 and bool(failed) and seconds <= SECONDS
    verdict = failed[0].split("tests/")[-1] if failed else f"NOT NOTICED (pytest's status {status})\n{output[-500:]}"
    print(f"{'ok  ' if caught else 'BAD '} {name:26}{seconds:5.0f} s  {verdict}", flush=True)
    return caught


def main(names):
    """Runs the named mutants, or all; returns the exit status."""
    unknown = set(names) - set(MUTANTS)
    if unknown:
        raise SystemExit(f"Unknown: {sorted(unknown)}. There are: {sorted(MUTANTS)}")
    results = [noticed(name, mutant) for name, mutant in MUTANTS.items() if not names or name in names]
    print(f"{sum(results)} of {len(results)} noticed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
