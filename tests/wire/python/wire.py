"""kafka-python, a client in pure Python, against a broker: `wire.py HOST:PORT`.

Prints `ok NAME` or `FAILED NAME` per check; exits with 1 if one failed. No consumer groups: partitions are assigned.
"""

import itertools
import os
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors
from kafka.admin import NewTopic

PATIENCE_S = 30
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]
MODES = {
    "acks-0": {"acks": 0, "enable_idempotence": False},
    "acks-1": {"acks": 1, "enable_idempotence": False},
    "acks-all": {"acks": "all", "enable_idempotence": False},
    "idempotent": {"acks": "all", "enable_idempotence": True},
}
bootstrap = ""
counter = itertools.count()


def records(count):
    """(key, value, headers, timestamp): some without key, some without value (never both, which the client refuses),
    some with headers; 1 ms apart."""
    base = int(time.time() * 1000) - 60_000
    return [
        (
            b"key-%d" % (n % 10) if n % 7 else None,
            b"value-%d %s" % (n, b"ringlog " * 20) if n % 5 or not n % 7 else None,
            [("a", b"%d" % n), ("b", b"")] if n % 3 == 0 else [],
            base + n,
        )
        for n in range(count)
    ]


def topic_name(what):
    return f"wire-python-{what}-{int(time.time() * 1000)}-{os.getpid()}-{next(counter)}"


def new_topic(what, partitions=1):
    name = topic_name(what)
    create(name, partitions)
    return name


def create(name, partitions=1):
    with admin() as client:
        client.create_topics([NewTopic(name, partitions, 1)], timeout_ms=PATIENCE_S * 1000)


def delete(name):
    with admin() as client:
        client.delete_topics([name], timeout_ms=PATIENCE_S * 1000)


class admin:
    """An admin client that is closed at the end of its block."""

    def __enter__(self):
        self.client = KafkaAdminClient(bootstrap_servers=bootstrap)
        return self.client

    def __exit__(self, *_):
        self.client.close()


def produce(topic, sent, partition=0, **options):
    """The offsets that the broker gave."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, **options)
    try:
        futures = [
            producer.send(topic, value=value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp)
            for key, value, headers, timestamp in sent
        ]
        producer.flush(PATIENCE_S)
        return [future.get(PATIENCE_S).offset for future in futures]
    finally:
        producer.close(timeout=PATIENCE_S)


def consumer(topic, partition=0, **options):
    client = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, **options)
    client.assign([TopicPartition(topic, partition)])
    return client


def read(client, count):
    """(offset, record) of at least `count` records; then a moment more, to see that nothing follows."""
    found = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < deadline:
        found += polled(client, 1000)
    found += polled(client, 100)
    client.close()
    return found


def polled(client, timeout_ms):
    return [
        (r.offset, (r.key, r.value, list(r.headers), r.timestamp))
        for batch in client.poll(timeout_ms=timeout_ms).values()
        for r in batch
    ]


def same(expected, found, first_offset=0):
    assert len(found) == len(expected), f"{len(found)} records instead of {len(expected)}"
    for wanted, (offset, record), place in zip(expected, found, itertools.count(first_offset)):
        assert offset == place, f"offset {offset} where {place} was due"
        assert record == wanted, f"at {offset}: {record} instead of {wanted}"


def refused(error, action, *arguments, **options):
    try:
        action(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{error.__name__} was due")


def from_start(topic, count, partition=0):
    client = consumer(topic, partition)
    client.seek_to_beginning()
    return read(client, count)


def check_round_trip(codec, mode):
    topic = new_topic("codec")
    sent = records(300)
    offsets = produce(topic, sent, compression_type=codec, linger_ms=20, **MODES[mode])
    assert mode == "acks-0" or offsets == list(range(300)), offsets
    same(sent, from_start(topic, 300))


def check_partitions():
    topic = new_topic("partitions", 6)
    sent = records(600)
    for partition in range(6):
        produce(topic, sent[partition::6], partition)
    for partition in range(6):
        same(sent[partition::6], from_start(topic, 100, partition))


def check_seek_offset():
    topic = new_topic("seek")
    sent = records(100)
    produce(topic, sent)
    here = TopicPartition(topic, 0)
    client = consumer(topic)
    assert client.beginning_offsets([here]) == {here: 0}
    assert client.end_offsets([here]) == {here: 100}
    client.seek(here, 42)
    same(sent[42:], read(client, 58), 42)
    client = consumer(topic)
    client.seek_to_end(here)
    assert client.position(here) == 100
    same([], read(client, 0))


def check_seek_time():
    topic = new_topic("time")
    sent = records(100)
    produce(topic, sent, batch_size=1000)
    here = TopicPartition(topic, 0)
    client = consumer(topic)
    for when, expected in [(sent[0][3] - 1, 0), (sent[42][3], 42), (sent[99][3], 99), (sent[99][3] + 1, None)]:
        found = client.offsets_for_times({here: when})[here]
        assert (found and found.offset) == expected, f"{found} instead of {expected}"
    client.seek(here, 42)
    same(sent[42:], read(client, 58), 42)


def check_offset_out_of_range():
    topic = new_topic("range")
    produce(topic, records(10))
    client = consumer(topic, auto_offset_reset="none")
    client.seek(TopicPartition(topic, 0), 1000)
    try:
        refused(errors.OffsetOutOfRangeError, read, client, 1)
    finally:
        client.close()


def check_long_poll():
    topic = new_topic("poll")
    client = consumer(topic, fetch_max_wait_ms=20_000)
    client.seek_to_beginning()
    assert polled(client, 1000) == []
    produce(topic, records(1))
    start = time.monotonic()
    assert [offset for offset, _ in polled(client, 20_000)] == [0]
    assert time.monotonic() - start < 5
    client.close()


def check_record_large():
    topic = new_topic("large")
    sent = [(None, os.urandom(size), [], 1_700_000_000_000) for size in (900_000, 10, 950_000)]
    produce(topic, sent)
    client = consumer(topic, max_partition_fetch_bytes=1000)
    client.seek_to_beginning()
    same(sent, read(client, 3))


def check_record_too_large():
    topic = new_topic("large")
    record = (None, os.urandom(2_000_000), [], 1_700_000_000_000)
    refused(errors.MessageSizeTooLargeError, produce, topic, [record], max_request_size=4_000_000)
    assert produce(topic, records(3)) == [0, 1, 2]


def check_unknown_topic():
    topic = topic_name("missing")
    client = consumer(topic, allow_auto_create_topics=False)
    assert not client.partitions_for_topic(topic)
    client.close()
    with admin() as client:
        assert topic not in client.list_topics()
        assert client.describe_topics([topic])[0]["error_code"] == 3
    refused(errors.UnknownTopicOrPartitionError, delete, topic)


def check_topic_refused():
    topic = new_topic("exists")
    refused(errors.TopicAlreadyExistsError, create, topic)
    refused(errors.InvalidTopicError, create, "with blank")
    refused(errors.InvalidPartitionsError, create, topic_name("none"), 0)


def check_delete_recreate():
    topic = new_topic("recreate")
    produce(topic, records(10))
    delete(topic)
    with admin() as client:
        deadline = time.monotonic() + 5  # at once or, where a broker learns of it later, within seconds
        while topic in client.list_topics():
            assert time.monotonic() < deadline, "deleted, and still listed"
    create(topic)
    sent = records(5)
    assert produce(topic, sent) == list(range(5))
    same(sent, from_start(topic, 5))


def main():
    global bootstrap
    bootstrap = sys.argv[1]
    checks = {
        f"{codec or 'none'}-{mode}": lambda codec=codec, mode=mode: check_round_trip(codec, mode)
        for codec in CODECS
        for mode in MODES
    }
    checks |= {name[6:].replace("_", "-"): f for name, f in globals().items() if name.startswith("check_")}
    del checks["round-trip"]
    failed = 0
    for name, check in checks.items():
        try:
            check()
            print(f"ok kafka-python-{name}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED kafka-python-{name}: {type(error).__name__} {error}".replace("\n", " "), flush=True)
    sys.exit(1 if failed else 0)


main()
