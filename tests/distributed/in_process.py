"""Collectors in the process of the tests, which answer when they are asked for their results."""

import contextlib
import copy

from keras_rl_prob.distributed.engine import Died


class InProcess:
    """The methods of a `RayEngine`; `faults` are called before a method of a collector runs.

    Attributes:
        faults: Function of the collector's number, how many had its place before, the method, and how often it was called;
            an exception that it raises takes the place of the result. `"hang"` lets the result never come.
        seen: List of `(place, method)` in the order of the results.
    """

    def __init__(self):
        self.collectors, self.dismissed, self.puts, self.seen = [], [], 0, []
        self.faults = lambda *_: None

    def check_portable(self, env):
        pass

    def put(self, value):
        self.puts += 1
        return value

    def hire(self, kind, name, order, env, num_envs, place, *more):
        collector = kind(name, copy.deepcopy(order), env, num_envs, place, *more)
        collector.place, collector.calls = place[0], {}
        collector.before = sum(other.place == place[0] for other in self.collectors)
        self.collectors.append(collector)
        return collector

    def call(self, collector, method, *args):
        return Reference(self, collector, method, args)

    def ready(self, references, seconds):
        return [reference for reference in references if reference.comes()]

    def result(self, reference):
        return reference.result()

    def dismiss(self, collector):
        self.dismissed.append(collector)


class Reference:
    def __init__(self, engine, collector, method, args):
        self.engine, self.collector, self.method, self.args = engine, collector, method, args
        calls = collector.calls
        calls[method] = calls.get(method, 0) + 1
        self.fault = engine.faults(collector.place, collector.before, method, calls[method])

    def comes(self):
        return self.fault != "hang"

    def result(self):
        self.engine.seen.append((self.collector.place, self.method))
        if self.fault == "die":
            raise Died("killed")
        if callable(self.fault):
            return self.fault(getattr(self.collector, self.method)(*self.args))
        return getattr(self.collector, self.method)(*self.args)


@contextlib.contextmanager
def connected(engine):
    yield engine
