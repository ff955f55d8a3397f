"""The server of `docs/examples/serve.py`: the actions of the agent, with the memory of each episode."""

import importlib.util
import json
import pathlib
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

import keras_rl_prob as krp

FILE = pathlib.Path(__file__).parent.parent / "docs" / "examples" / "serve.py"


@pytest.fixture(scope="module")
def agent():
    agent = krp.RecurrentPPO(krp.networks.recurrent("tf/CartPole-v1", "gru", 4))
    agent.build("tf/CartPole-v1")
    return agent


@pytest.fixture(scope="module")
def ask(agent, tmp_path_factory):
    spec = importlib.util.spec_from_file_location("serve", FILE)
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    serve.MOST_EPISODES = 2
    folder = tmp_path_factory.mktemp("export") / "policy"
    agent.export(str(folder))
    server = serve.PolicyServer(str(folder), 0)
    assert server.server_address[0] == "127.0.0.1"
    server.RequestHandlerClass.log_message = lambda *args: None
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(question):
        data = question if isinstance(question, bytes) else json.dumps(question).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}", data, timeout=60) as answer:
            return json.loads(answer.read())

    ask.states = server.states
    yield ask
    server.shutdown()
    server.server_close()


def test_each_episode_has_its_own_memory(agent, ask):
    observations = 3.0 * np.random.default_rng(0).normal(size=(6, 2, 4)).astype(np.float32)
    policies = {name: agent.policy() for name in "ab"}
    for step in observations:
        for (name, policy), observation in zip(policies.items(), step, strict=True):
            answer = ask({"episode": name, "observation": observation.tolist()})
            assert answer == {"action": int(policy(observation))}


def test_old_episodes_are_forgotten(ask):
    for name in "cdec":
        ask({"episode": name, "observation": [0.0] * 4})
    assert list(ask.states) == ["e", "c"]


@pytest.mark.parametrize("wrong", [b"{", {"episode": "a"}, {"episode": "a", "observation": [1.0]}, {"observation": 1}])
def test_wrong_questions_are_answered_with_an_error(wrong, ask):
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        ask(wrong)
    assert "error" in json.loads(caught.value.read())
