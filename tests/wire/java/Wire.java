// The Java client against a broker: `java -cp 'LIBS/*' Wire.java HOST:PORT [DATA]`.
//
// Prints `ok NAME` or `FAILED NAME` per check; exits with 1 if one failed. No consumer groups: partitions are assigned.
// With DATA, the broker's data directory, Kafka's own DumpLogSegments reads a sealed segment from there.

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class Wire {
    static final Duration PATIENCE = Duration.ofSeconds(30);
    static final Map<String, Map<String, Object>> MODES = new TreeMap<>(Map.of(
        "acks-0", Map.of("acks", "0", "enable.idempotence", false),
        "acks-1", Map.of("acks", "1", "enable.idempotence", false),
        "acks-all", Map.of("acks", "all", "enable.idempotence", false),
        "idempotent", Map.of("acks", "all", "enable.idempotence", true)));
    static String bootstrap;
    static Admin admin;
    static int failed;
    static int topics;

    interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) {
        bootstrap = arguments[0];
        try (var client = Admin.create(Map.of("bootstrap.servers", bootstrap, "request.timeout.ms", 10000, "default.api.timeout.ms", 20000))) {
            admin = client;
            for (var codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                MODES.forEach((mode, options) -> check(codec + "-" + mode, () -> roundTrip(codec, mode, options)));
            }
            check("idempotent-pipelined", Wire::pipelined);
            check("partitions", Wire::partitions);
            check("seek-offset", Wire::seekOffset);
            check("seek-time", Wire::seekTime);
            check("offset-out-of-range", Wire::offsetOutOfRange);
            check("long-poll", Wire::longPoll);
            check("record-large", Wire::largeRecord);
            check("record-too-large", Wire::tooLargeRecord);
            check("unknown-partition", Wire::unknownPartition);
            check("unknown-topic", Wire::unknownTopic);
            check("topic-refused", Wire::topicRefused);
            check("topic-configs", Wire::topicConfigs);
            check("log-append-time", Wire::logAppendTime);
            check("cluster", Wire::cluster);
            check("delete-recreate", Wire::deleteRecreate);
            if (arguments.length > 1) {
                check("dump-log-segments", () -> dumpLogSegments(Path.of(arguments[1])));
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    static void check(String name, Check check) {
        try {
            check.run();
            System.out.println("ok java-" + name);
        } catch (Throwable error) {
            failed++;
            System.out.println("FAILED java-" + name + ": " + error.toString().replace('\n', ' '));
            error.printStackTrace();
        }
    }

    static void roundTrip(String codec, String mode, Map<String, Object> options) throws Exception {
        var topic = newTopic("codec", 1);
        var sent = records(topic, 0, 300);
        var all = new HashMap<>(options);
        all.put("compression.type", codec);
        var offsets = produce(sent, all);
        if (!mode.equals("acks-0")) {
            same(List.of(0L, 299L), List.of(offsets.get(0), offsets.get(299)));
        }
        same(sent, read(topic, 0, 0, 300), 0);
    }

    /** Many small batches, five in flight. */
    static void pipelined() throws Exception {
        var topic = newTopic("pipelined", 1);
        var sent = records(topic, 0, 5000);
        produce(sent, Map.of("batch.size", 2000, "linger.ms", 0));
        same(sent, read(topic, 0, 0, 5000), 0);
    }

    static void partitions() throws Exception {
        var topic = newTopic("partitions", 6);
        for (int partition = 0; partition < 6; partition++) {
            var sent = records(topic, partition, 100);
            produce(sent, Map.of());
            same(sent, read(topic, partition, 0, 100), 0);
        }
    }

    static void seekOffset() throws Exception {
        var topic = newTopic("seek", 1);
        var sent = records(topic, 0, 100);
        produce(sent, Map.of());
        same(sent.subList(42, 100), read(topic, 0, 42, 58), 42);
        var here = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            same(Map.of(here, 0L), consumer.beginningOffsets(List.of(here)));
            same(Map.of(here, 100L), consumer.endOffsets(List.of(here)));
            consumer.assign(List.of(here));
            consumer.seekToEnd(List.of(here));
            same(100L, consumer.position(here, PATIENCE));
            same(true, consumer.poll(Duration.ofMillis(200)).isEmpty());
        }
    }

    static void seekTime() throws Exception {
        var topic = newTopic("time", 1);
        var sent = records(topic, 0, 100);
        produce(sent, Map.of("batch.size", 2000));
        var here = new TopicPartition(topic, 0);
        long start = sent.get(0).timestamp();
        try (var consumer = consumer(Map.of())) {
            for (var wanted : new long[][] {{start - 1, 0}, {start + 42, 42}, {start + 99, 99}, {start + 100, -1}}) {
                var found = consumer.offsetsForTimes(Map.of(here, wanted[0])).get(here);
                same(wanted[1], found == null ? -1 : found.offset());
            }
        }
        var specs = Map.of(here, OffsetSpec.maxTimestamp());
        same(99L, admin.listOffsets(specs).partitionResult(here).get().offset());
    }

    static void offsetOutOfRange() throws Exception {
        var topic = newTopic("range", 1);
        produce(records(topic, 0, 10), Map.of());
        refused(org.apache.kafka.clients.consumer.OffsetOutOfRangeException.class, () -> read(topic, 0, 1000, 1));
    }

    /** A fetch that waits is answered by the append, not by its deadline. */
    static void longPoll() throws Exception {
        var topic = newTopic("poll", 1);
        var here = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of("fetch.max.wait.ms", 20000))) {
            consumer.assign(List.of(here));
            consumer.seekToBeginning(List.of(here));
            same(true, consumer.poll(Duration.ofSeconds(1)).isEmpty());
            produce(records(topic, 0, 1), Map.of());
            long start = System.nanoTime();
            same(1, consumer.poll(Duration.ofSeconds(20)).count());
            same(true, System.nanoTime() - start < TimeUnit.SECONDS.toNanos(5));
        }
    }

    static void largeRecord() throws Exception {
        var topic = newTopic("large", 1);
        var sent = List.of(noise(topic, 900_000), noise(topic, 10), noise(topic, 950_000));
        produce(sent, Map.of());
        // More than one fetch may hold: the first batch must come all the same.
        same(sent, read(topic, 0, 0, 3, Map.of("max.partition.fetch.bytes", 1000)), 0);
    }

    static void tooLargeRecord() throws Exception {
        var topic = newTopic("large", 1);
        var options = Map.<String, Object>of("max.request.size", 4_000_000);
        refused(RecordTooLargeException.class, () -> produce(List.of(noise(topic, 2_000_000)), options));
        var sent = records(topic, 0, 3);
        same(List.of(0L, 1L, 2L), produce(sent, options));
        same(sent, read(topic, 0, 0, 3), 0);
    }

    static void unknownPartition() throws Exception {
        var topic = newTopic("partition", 2);
        produce(records(topic, 1, 1), Map.of());
        refused(org.apache.kafka.common.errors.TimeoutException.class,
            () -> produce(records(topic, 99, 1), Map.of("max.block.ms", 2000)));
        refused(org.apache.kafka.common.errors.TimeoutException.class,
            () -> read(topic, 99, 0, 1, Map.of("default.api.timeout.ms", 2000)));
    }

    static void unknownTopic() throws Exception {
        var topic = topicName("missing");
        refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
        refused(UnknownTopicOrPartitionException.class,
            () -> admin.describeTopics(List.of(topic)).allTopicNames().get());
    }

    static void topicRefused() throws Exception {
        var topic = newTopic("exists", 1);
        refused(TopicExistsException.class, () -> create(topic, 1, Map.of()));
        refused(InvalidTopicException.class, () -> create("with blank", 1, Map.of()));
        refused(InvalidPartitionsException.class, () -> create(topicName("none"), 0, Map.of()));
        refused(InvalidConfigurationException.class, () -> create(topicName("none"), 1, Map.of("no.such.key", "1")));
        refused(InvalidConfigurationException.class, () -> create(topicName("none"), 1, Map.of("retention.ms", "x")));
    }

    static void topicConfigs() throws Exception {
        var topic = topicName("configs");
        create(topic, 1, Map.of("retention.ms", "123456", "max.message.bytes", "3000"));
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var configs = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        same("123456", configs.get("retention.ms").value());
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, configs.get("retention.ms").source());
        same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, configs.get("segment.bytes").source());
        same("1073741824", configs.get("segment.bytes").value());
        produce(List.of(noise(topic, 2000)), Map.of());
        refused(RecordTooLargeException.class, () -> produce(List.of(noise(topic, 4000)), Map.of()));
    }

    static void logAppendTime() throws Exception {
        var topic = topicName("appendtime");
        create(topic, 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        produce(records(topic, 0, 10), Map.of("compression.type", "lz4"));
        long after = System.currentTimeMillis();
        for (var record : read(topic, 0, 0, 10)) {
            same(org.apache.kafka.common.record.TimestampType.LOG_APPEND_TIME, record.timestampType());
            same(true, before <= record.timestamp() && record.timestamp() <= after);
        }
    }

    static void cluster() throws Exception {
        var cluster = admin.describeCluster();
        same(1, cluster.nodes().get().size());
        same(bootstrap.split(":")[1], Integer.toString(cluster.nodes().get().iterator().next().port()));
        same(22, cluster.clusterId().get().length());
        same(true, cluster.controller().get() != null);
    }

    static void deleteRecreate() throws Exception {
        var topic = newTopic("recreate", 1);
        produce(records(topic, 0, 10), Map.of());
        var before = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        admin.deleteTopics(List.of(topic)).all().get();
        // At once or, where a broker learns of it later, within seconds.
        for (int tries = 0; tries < 50 && admin.listTopics().names().get().contains(topic); tries++) {
            Thread.sleep(100);
        }
        same(false, admin.listTopics().names().get().contains(topic));
        create(topic, 1, Map.of());
        var after = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
        same(false, before.equals(after));
        var sent = records(topic, 0, 5);
        same(List.of(0L, 1L, 2L, 3L, 4L), produce(sent, Map.of()));
        same(sent, read(topic, 0, 0, 5), 0);
    }

    /** Kafka's own tool reads a sealed segment: every batch valid, offsets dense from the segment's first on. */
    static void dumpLogSegments(Path data) throws Exception {
        var topic = topicName("dump");
        create(topic, 1, Map.of("segment.bytes", "1048576"));
        for (var codec : List.of("none", "zstd", "gzip")) {
            var sent = new ArrayList<ProducerRecord<byte[], byte[]>>(records(topic, 0, 500));
            sent.add(noise(topic, 700_000));
            produce(sent, Map.of("compression.type", codec));
        }
        Path sealed;
        try (var paths = Files.walk(data)) {
            var folder = paths.filter(path -> path.endsWith(topic + "-0")).findFirst().orElseThrow();
            sealed = folder.resolve("00000000000000000000.log");
        }
        // A broker may write behind: until then the dump shows less.
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (true) {
            try {
                judgeDump(dump(sealed), Files.size(sealed));
                return;
            } catch (AssertionError error) {
                if (System.nanoTime() > deadline) {
                    throw error;
                }
                Thread.sleep(500);
            }
        }
    }

    static void judgeDump(String text, long size) {
        long next = 0;
        long position = 0;
        var batches = Pattern.compile(
            "baseOffset: (\\d+) lastOffset: (\\d+) .*position: (\\d+) .*size: (\\d+) .*isvalid: (\\w+)");
        for (var batch : (Iterable<MatchResult>) batches.matcher(text).results()::iterator) {
            same(next + " at " + position + " true", batch.group(1) + " at " + batch.group(3) + " " + batch.group(5));
            next = Long.parseLong(batch.group(2)) + 1;
            position += Long.parseLong(batch.group(4));
        }
        same(size, position);
        same(true, next > 500 && next < 1503 && size <= 1048576);
        same((int) next, (int) Pattern.compile("\\| offset: \\d+").matcher(text).results().count());
    }

    static String dump(Path segment) {
        var output = new ByteArrayOutputStream();
        var console = System.out;
        System.setOut(new PrintStream(output, true, StandardCharsets.UTF_8));
        try {
            kafka.tools.DumpLogSegments.main(new String[] {"--deep-iteration", "--files", segment.toString()});
        } finally {
            System.setOut(console);
        }
        return output.toString(StandardCharsets.UTF_8);
    }

    /** Some without key, some without value, some with headers, one of them null; a millisecond apart. */
    static List<ProducerRecord<byte[], byte[]>> records(String topic, int partition, int count) {
        long base = System.currentTimeMillis() - 60_000;
        var all = new ArrayList<ProducerRecord<byte[], byte[]>>();
        for (int n = 0; n < count; n++) {
            var key = n % 7 == 0 ? null : bytes("key-" + n % 10);
            var value = n % 5 == 0 ? null : bytes("value-" + n + " " + "ringlog ".repeat(20));
            List<Header> headers = n % 3 != 0 ? List.of() : List.of(new RecordHeader("a", bytes("" + n)),
                new RecordHeader("b", new byte[0]), new RecordHeader("c", (byte[]) null));
            all.add(new ProducerRecord<>(topic, partition, base + n, key, value, headers));
        }
        return all;
    }

    static ProducerRecord<byte[], byte[]> noise(String topic, int size) {
        var value = new byte[size];
        new Random(size).nextBytes(value);
        return new ProducerRecord<>(topic, 0, 1_700_000_000_000L, null, value);
    }

    static List<Long> produce(List<ProducerRecord<byte[], byte[]>> all, Map<String, Object> options) throws Exception {
        var config = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 20));
        config.putAll(options);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            var pending = new ArrayList<Future<RecordMetadata>>();
            for (var record : all) {
                pending.add(producer.send(record));
            }
            var offsets = new ArrayList<Long>();
            for (var future : pending) {
                offsets.add(future.get(PATIENCE.toSeconds(), TimeUnit.SECONDS).offset());
            }
            return offsets;
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> options) {
        var config = new HashMap<String, Object>(
            Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "fetch.max.wait.ms", 100,
                "allow.auto.create.topics", false));
        config.putAll(options);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, long from, int count) {
        return read(topic, partition, from, count, Map.of());
    }

    /** That many records, and a moment more to see that nothing follows. */
    static List<ConsumerRecord<byte[], byte[]>> read(
            String topic, int partition, long from, int count, Map<String, Object> options) {
        var here = new TopicPartition(topic, partition);
        var found = new ArrayList<ConsumerRecord<byte[], byte[]>>();
        try (var consumer = consumer(options)) {
            if (partition >= consumer.partitionsFor(topic).size()) {
                consumer.endOffsets(List.of(here));
            }
            consumer.assign(List.of(here));
            consumer.seek(here, from);
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (found.size() < count && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(500)).forEach(found::add);
            }
            consumer.poll(Duration.ofMillis(100)).forEach(found::add);
        }
        return found;
    }

    static void same(List<ProducerRecord<byte[], byte[]>> sent, List<ConsumerRecord<byte[], byte[]>> found, long first) {
        same(sent.size(), found.size());
        for (int n = 0; n < sent.size(); n++) {
            var wanted = sent.get(n);
            var record = found.get(n);
            same(first + n, record.offset());
            same(true, Arrays.equals(wanted.key(), record.key()) && Arrays.equals(wanted.value(), record.value()));
            same(wanted.headers(), record.headers());
            same(wanted.timestamp(), record.timestamp());
        }
    }

    static void same(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError(found + " instead of " + expected);
        }
    }

    static void refused(Class<? extends Throwable> expected, Check action) throws Exception {
        try {
            action.run();
        } catch (Throwable error) {
            var cause = error instanceof ExecutionException ? error.getCause() : error;
            if (!expected.isInstance(cause)) {
                throw new AssertionError(cause + " instead of " + expected.getSimpleName(), cause);
            }
            return;
        }
        throw new AssertionError(expected.getSimpleName() + " was due");
    }

    static String topicName(String what) {
        return "wire-java-" + what + "-" + System.currentTimeMillis() + "-" + topics++;
    }

    static String newTopic(String what, int partitions) throws Exception {
        var name = topicName(what);
        create(name, partitions, Map.of());
        return name;
    }

    static void create(String name, int partitions, Map<String, String> configs) throws Exception {
        var topic = new NewTopic(name, partitions, (short) 1).configs(configs);
        admin.createTopics(List.of(topic)).all().get();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
