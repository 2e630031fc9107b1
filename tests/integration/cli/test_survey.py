"""The survey: every stream and group of a server or cluster, worst first, by its address alone."""

import json
import shlex

from dev.cluster import Cluster
from dev.many import targets
from tests.cluster_support import given_on, targets_on_each
from tests.integration.cli.program import in_pipe, lines
from tests.support import Client, Endpoint, held

PENDING = 3


def test_the_worst_comes_first_with_a_target_to_set(embedded: Endpoint, client: Client) -> None:
    """A consumer long gone, and an entry deleted while pending, weigh more than many fresh ones. Nothing is changed."""
    with client.pipeline(transaction=False) as pipeline:
        for command in targets(100):
            pipeline.execute_command(*command)
        pipeline.execute()
    client.execute_command("XGROUP", "CREATE", "pay*ments", "ledger", "0", "MKSTREAM")
    ids = [client.execute_command("XADD", "pay*ments", "*", "a", "b") for _ in range(PENDING)]
    client.execute_command("XREADGROUP", "GROUP", "ledger", "gone", "STREAMS", "pay*ments", ">")
    client.execute_command("XDEL", "pay*ments", ids[0])
    client.execute_command("XADD", "no-group", "*", "a", "b")
    client.execute_command("SET", "no-stream", "x")
    for key in ("dead", "lost", "runs", "audit"):  # ours
        client.execute_command("XADD", f"{{pay*ments}}:reclaim:ledger:{key}", "*", "a", "b")
    keys = sorted(client.execute_command("KEYS", "*"))
    env = {"REDIS_HOST": f"127.0.0.1:{embedded.port}", "REDIS_TLS": "false"}

    shown = in_pipe(env, "survey", "--limit", "5")
    found = json.loads(in_pipe(env, "survey", "--json").out)

    assert shown.code == 0
    assert lines(shown.out)[1][:4] == ["pay*ments", "ledger", "2", "3"]
    assert lines(shown.out)[1][-1] == "1 of 3 looked at"
    alike = [(one["oldest_idle_ms"], one["stream"]) for one in found["worst"][1:]]
    assert alike == sorted(alike, key=lambda one: (-one[0], one[1]))  # by name where nothing else differs
    assert len(lines(shown.out)) == 6
    assert "102 streams, 101 groups, 103 pending entries" in shown.err
    assert (found["streams"], found["groups"], found["pending"]) == (102, 101, 103)
    snippet = next(line for line in shown.err.splitlines() if line.startswith("RECLAIM_TARGETS="))
    (value,) = shlex.split(snippet.partition("=")[2])
    assert json.loads(value)[0] == {"stream": r"pay\*ments", "group": "ledger"}
    assert sorted(client.execute_command("KEYS", "*")) == keys
    doctored = in_pipe({**env, "RECLAIM_TARGETS": value}, "status")
    assert "pay*ments/ledger" in doctored.out


def test_every_node_of_a_cluster_is_looked_at(cluster: Cluster) -> None:
    """Streams lie on all of them."""
    there = targets_on_each()
    for target in there:
        given_on(cluster, target, *held(range(4)))
    env = {"REDIS_HOST": f"127.0.0.1:{cluster.port}", "REDIS_TLS": "false", "REDIS_CLUSTER": "true"}

    found = json.loads(in_pipe(env, "survey", "--json").out)

    assert (found["streams"], found["groups"], found["pending"]) == (3, 3, 12)
    assert sorted(one["stream"] for one in found["worst"]) == sorted(target.stream for target in there)


def test_without_an_address_it_says_which_setting_is_missing() -> None:
    """And asks for no stream."""
    ended = in_pipe({}, "survey")

    assert ended.code == 2
    assert "REDIS_HOST" in ended.err
    assert "STREAM_NAME" not in ended.err
