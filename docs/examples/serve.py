"""Serves an exported policy over HTTP, on this machine only; needs TensorFlow, but neither Keras nor this library.

python docs/examples/serve.py balance_policy [--port 8000]
"""

import argparse
import collections
import http.server
import json
from typing import Any

import numpy as np
import tensorflow as tf

MOST_EPISODES = 1_000  # whose recurrent states are kept, the latest


class PolicyServer(http.server.HTTPServer):
    """Answers `POST /` with an action; one request at a time.

    Args:
        folder: The folder of the SavedModel.
        port: Port on the loopback interface; 0 for any free one.
    """

    def __init__(self, folder: str, port: int) -> None:
        self.policy: Any = tf.saved_model.load(folder)
        self.states: collections.OrderedDict[str, Any] = collections.OrderedDict()  # by episode
        inputs = self.policy.signatures["serving_default"].structured_input_signature[1]
        self.dtype = inputs["observation"].dtype.as_numpy_dtype
        super().__init__(("127.0.0.1", port), Handler)

    def act(self, episode: str, observation: list[Any]) -> Any:
        """The action in the next step of an episode, which begins when its name is new."""
        state = self.states.get(episode)
        is_first = state is None
        if is_first:
            state = self.policy.initial_state(1)
        action, state = self.policy.serve(np.array([observation], self.dtype), np.array([is_first]), state)
        self.states[episode] = state
        self.states.move_to_end(episode)
        if len(self.states) > MOST_EPISODES:
            self.states.popitem(last=False)
        return action.numpy()[0].tolist()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request: `{"episode": "a", "observation": [...]}`; its answer: `{"action": ...}`."""

    server: PolicyServer

    def do_POST(self) -> None:
        """Answers."""
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = 200, {"action": self.server.act(str(asked["episode"]), asked["observation"])}
        except (KeyError, TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
            status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    PolicyServer(arguments.folder, arguments.port).serve_forever()
