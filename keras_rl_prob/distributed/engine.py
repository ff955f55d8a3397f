"""Ray: processes for collectors, and the store of the objects that they exchange."""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import tensorflow as tf

from keras_rl_prob.distributed.collector import Failure

PATIENCE = 60.0  # seconds until a collector should have been scheduled
ANSWER = 10.0  # seconds for a cluster to answer
SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
ALONE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0"}


class Died(Exception):
    """The process of a collector has ended, or its node is gone."""


def ray_module(address: str | None = None) -> ModuleType:
    """Returns the module `ray`; an `ImportError` names the extra if it is not installed.

    Args:
        address: Address of a cluster. Without one, Ray will only accept local connections, if it has not been imported yet: it
            replaces 127.0.0.1 by the address in the network unless it is told at import that there is no cluster.
    """
    try:
        with _in_environment({} if address else {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}):
            import ray  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            'Collectors in other processes need Ray: `pip install "keras_rl_prob[distributed]"`'
        ) from error
    return ray


class Process:
    """An object that has a process to itself.

    Args:
        threads: Threads that TensorFlow may use.
        kind: Class of the object, such as `Collector`.
        *args: The arguments of its constructor.
    """

    def __init__(self, threads: int, kind: type, *args: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's handler raises, in a `__del__` too
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._object = kind(*args)

    def run(self, method: str, *args: Any) -> Any:
        """Calls a method of the object."""
        return getattr(self._object, method)(*args)


class RayEngine:
    """A connection to Ray.

    Args:
        collectors: Number of collectors, for which it reserves CPUs.
        num_cpus: CPUs of each collector.
    """

    def __init__(self, collectors: int, num_cpus: float) -> None:
        self._ray: Any = ray_module()
        self._num_cpus, self._threads = num_cpus, max(1, int(num_cpus))
        self._remote = self._ray.remote(Process)
        self._places = self._ray.util.placement_group([{"CPU": num_cpus}] * collectors, strategy="SPREAD")
        try:
            self._check_places(collectors)
        except BaseException:
            self.close()
            raise

    def _check_places(self, collectors):
        """Raises a `TimeoutError` if the cluster has no place for all collectors for a while."""
        if not self._places.wait(PATIENCE):
            free, total = (x.get("CPU", 0.0) for x in (self._ray.available_resources(), self._ray.cluster_resources()))
            raise TimeoutError(
                f"The Ray cluster has had no place for {collectors} collectors of num_cpus={self._num_cpus:g} for "
                f"{PATIENCE:.0f} seconds. Free: {free:g} of {total:g} CPUs"
            )

    def close(self) -> None:
        """Gives the reserved CPUs back."""
        self._ray.util.remove_placement_group(self._places)

    def check_portable(self, env: Any) -> None:
        """Raises a `TypeError` unless an environment can be sent to other processes."""
        try:
            self._ray.cloudpickle.dumps(env)
        except Exception as error:
            raise TypeError(
                "`env` must be something that can be sent to another process: pass an id, or a callable that makes the "
                f"environment there. Received: env={env!r}, which cannot be pickled ({error})"
            ) from error

    def put(self, value: Any) -> Any:
        """Puts a value into the object store; returns a reference to it."""
        return self._ray.put(value)

    def hire(self, kind: type, *args: Any) -> Any:
        """Starts the process of an object with the arguments of its class; returns before it has started."""
        options = {
            "num_cpus": self._num_cpus,
            "max_restarts": 0,
            "runtime_env": {"env_vars": _variables()},
            "scheduling_strategy": self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(self._places),
        }
        return self._remote.options(**options).remote(self._threads, kind, *args)

    def call(self, collector: Any, method: str, *args: Any) -> Any:
        """Calls a method of a collector after those that were called before; returns a reference to the result."""
        return collector.run.remote(method, *args)

    def ready(self, references: Sequence[Any], seconds: float) -> list[Any]:
        """Waits up to so many seconds for the first of some results; returns the references of all that are there."""
        found, _ = self._ray.wait(references, num_returns=1, timeout=seconds, fetch_local=True)
        return found and self._ray.wait(references, num_returns=len(references), timeout=0)[0]

    def result(self, reference: Any) -> Any:
        """Returns a result that is there.

        Raises:
            Died: The process that was to compute it has ended.
            MemoryError: The object store is full.
        """
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:
            raise _full(error) from error
        except errors.RayTaskError as error:
            if isinstance(error.cause, errors.ObjectStoreFullError | errors.OutOfDiskError):
                raise _full(error) from error
            return Failure(error.cause if isinstance(error.cause, Exception) else error)
        except errors.RayError as error:
            lines = str(error).strip().splitlines()
            raise Died(" ... ".join(dict.fromkeys((lines[0], lines[-1])))) from error

    def dismiss(self, collector: Any) -> None:
        """Ends the process of a collector."""
        with contextlib.suppress(Exception):
            self._ray.kill(collector)


def _variables():
    """Environment variables of collectors, which find the modules that are found here."""
    own = [path for path in sys.path if path and not path.startswith((sys.prefix, sys.base_prefix))]
    return SETTINGS | {"PYTHONPATH": os.pathsep.join([*own, "${PYTHONPATH}"])}


def _full(error):
    return MemoryError(f"Ray's object store is full: use fewer collectors, or smaller rollouts. Ray says: {error}")


@contextlib.contextmanager
def connected(address: str | None, collectors: int, num_cpus: float) -> Iterator[RayEngine]:
    """Context manager of a `RayEngine`: uses Ray if it runs in this process, connects to a cluster, or starts Ray here.

    Args:
        address: `None` to start Ray on this machine, `"auto"`, or `"host:port"` of a cluster.
        collectors: Number of collectors.
        num_cpus: CPUs of each.

    Raises:
        ConnectionError: No cluster answers at `address`.
    """
    ray: Any = ray_module(address)
    if ray.is_initialized():
        with contextlib.closing(RayEngine(collectors, num_cpus)) as engine:
            yield engine
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": True}
    if address is None:
        cpus = 1 + -(-collectors * num_cpus // 1)
        with _in_environment(ALONE):
            ray.init(
                address="local", num_cpus=int(cpus), include_dashboard=False, _node_ip_address="127.0.0.1", **quiet
            )
    else:
        _check_answers(address)
        try:
            ray.init(address=address, **quiet)
        except Exception as error:
            raise _nothing(address, error) from error
    try:
        with contextlib.closing(RayEngine(collectors, num_cpus)) as engine:
            yield engine
    finally:
        ray.shutdown()


def _check_answers(address):
    host, _, port = address.rpartition(":")
    if address == "auto" or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except OSError as error:
        raise _nothing(address, error) from error


def _nothing(address, error):
    return ConnectionError(
        f"`address` must be that of a running Ray cluster, `host:port` or `auto`. Received: address={address!r}, where nothing "
        f"answers within {ANSWER:.0f} seconds ({error})"
    )


@contextlib.contextmanager
def _in_environment(values):
    """Context manager with environment variables, unless the user has set them."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]
