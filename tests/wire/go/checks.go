package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var checks = []check{
	{"idempotent-pipelined", pipelined},
	{"partitions", partitions},
	{"seek-offset", seekOffset},
	{"seek-time", seekTime},
	{"offset-out-of-range", offsetOutOfRange},
	{"long-poll", longPoll},
	{"record-large", largeRecord},
	{"record-too-large", tooLargeRecord},
	{"unknown-partition", unknownPartition},
	{"unknown-topic", unknownTopic},
	{"topic-refused", topicRefused},
	{"delete-recreate", deleteRecreate},
}

func roundTrip(ctx context.Context, unacknowledged bool, options []kgo.Opt) error {
	topic, err := newTopic(ctx, "codec", 1)
	if err != nil {
		return err
	}
	sent := records(topic, 300)
	if err := produce(ctx, sent, options...); err != nil {
		return err
	}
	for n, record := range sent {
		if !unacknowledged && record.Offset != int64(n) {
			return fmt.Errorf("record %d was given offset %d", n, record.Offset)
		}
	}
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AtStart(), 300)
	if err != nil {
		return err
	}
	return same(sent, found, 0)
}

// pipelined sends small batches, five requests in flight.
func pipelined(ctx context.Context) error {
	topic, err := newTopic(ctx, "pipelined", 1)
	if err != nil {
		return err
	}
	sent := records(topic, 5000)
	if err := produce(ctx, sent, kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(2000)); err != nil {
		return err
	}
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AtStart(), 5000)
	if err != nil {
		return err
	}
	return same(sent, found, 0)
}

func partitions(ctx context.Context) error {
	topic, err := newTopic(ctx, "partitions", 6)
	if err != nil {
		return err
	}
	sent := records(topic, 600)
	shares := make([][]*kgo.Record, 6)
	for n, record := range sent {
		record.Partition = int32(n % 6)
		shares[n%6] = append(shares[n%6], record)
	}
	if err := produce(ctx, sent); err != nil {
		return err
	}
	for partition, share := range shares {
		found, err := consume(ctx, topic, int32(partition), kgo.NewOffset().AtStart(), 100)
		if err != nil {
			return err
		}
		if err := same(share, found, 0); err != nil {
			return err
		}
	}
	return nil
}

func seekOffset(ctx context.Context) error {
	topic, err := newTopic(ctx, "seek", 1)
	if err != nil {
		return err
	}
	sent := records(topic, 100)
	if err := produce(ctx, sent); err != nil {
		return err
	}
	for _, seek := range []struct {
		from  kgo.Offset
		first int64
	}{
		{kgo.NewOffset().At(42), 42},
		{kgo.NewOffset().AtEnd().Relative(-3), 97},
		{kgo.NewOffset().AtStart().Relative(5), 5},
		{kgo.NewOffset().AtEnd(), 100},
	} {
		found, err := consume(ctx, topic, 0, seek.from, int(100-seek.first))
		if err != nil {
			return err
		}
		if err := same(sent[seek.first:], found, seek.first); err != nil {
			return err
		}
	}
	return nil
}

func seekTime(ctx context.Context) error {
	topic, err := newTopic(ctx, "time", 1)
	if err != nil {
		return err
	}
	sent := records(topic, 100)
	if err := produce(ctx, sent, kgo.ProducerBatchMaxBytes(2000)); err != nil {
		return err
	}
	at := func(n int) int64 { return sent[n].Timestamp.UnixMilli() }
	for _, seek := range [][2]int64{{at(0) - 1, 0}, {at(42), 42}, {at(99), 99}, {at(99) + 1, -1}, {-2, 0}, {-1, 100}, {-3, 99}} {
		if offset, err := listed(ctx, topic, 0, seek[0]); err != nil || offset != seek[1] {
			return fmt.Errorf("time %d: offset %d instead of %d (%v)", seek[0], offset, seek[1], err)
		}
	}
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AfterMilli(at(42)), 58)
	if err != nil {
		return err
	}
	return same(sent[42:], found, 42)
}

func offsetOutOfRange(ctx context.Context) error {
	topic, err := newTopic(ctx, "range", 1)
	if err != nil {
		return err
	}
	if err := produce(ctx, records(topic, 10)); err != nil {
		return err
	}
	_, err = consume(ctx, topic, 0, kgo.NewOffset().At(1000), 1, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	return refused(err, kerr.OffsetOutOfRange)
}

// longPoll wants a waiting fetch to be answered by the append, not by its deadline.
func longPoll(ctx context.Context) error {
	topic, err := newTopic(ctx, "poll", 1)
	if err != nil {
		return err
	}
	appended := make(chan error, 1)
	var sentAt time.Time
	go func() {
		time.Sleep(2 * time.Second)
		sentAt = time.Now()
		appended <- produce(ctx, records(topic, 1))
	}()
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AtStart(), 1, kgo.FetchMaxWait(25*time.Second))
	if failed := <-appended; failed != nil || err != nil {
		return fmt.Errorf("produce: %v, consume: %v", failed, err)
	}
	if waited := time.Since(sentAt); len(found) != 1 || waited > 5*time.Second {
		return fmt.Errorf("%d records after %v", len(found), waited)
	}
	return nil
}

func largeRecord(ctx context.Context) error {
	topic, err := newTopic(ctx, "large", 1)
	if err != nil {
		return err
	}
	sent := []*kgo.Record{noise(topic, 900_000), noise(topic, 10), noise(topic, 950_000)}
	if err := produce(ctx, sent, kgo.ProducerBatchCompression(kgo.NoCompression())); err != nil {
		return err
	}
	// More than one fetch may hold: the first batch must come all the same.
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AtStart(), 3, kgo.FetchMaxPartitionBytes(1000))
	if err != nil {
		return err
	}
	return same(sent, found, 0)
}

func tooLargeRecord(ctx context.Context) error {
	topic, err := newTopic(ctx, "large", 1)
	if err != nil {
		return err
	}
	large := []*kgo.Record{noise(topic, 2_000_000)}
	err = produce(ctx, large, kgo.ProducerBatchMaxBytes(4_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err := refused(err, kerr.MessageTooLarge); err != nil {
		return err
	}
	sent := records(topic, 3)
	if err := produce(ctx, sent); err != nil {
		return err
	}
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AtStart(), 3)
	if err != nil {
		return err
	}
	return same(sent, found, 0)
}

func unknownPartition(ctx context.Context) error {
	topic, err := newTopic(ctx, "partition", 2)
	if err != nil {
		return err
	}
	if _, err := listed(ctx, topic, 1, -1); err != nil {
		return err
	}
	_, err = listed(ctx, topic, 99, -1)
	return refused(err, kerr.UnknownTopicOrPartition)
}

func unknownTopic(ctx context.Context) error {
	topic := topicName("missing")
	if err := refused(remove(ctx, topic), kerr.UnknownTopicOrPartition); err != nil {
		return err
	}
	err := produce(ctx, records(topic, 1), kgo.UnknownTopicRetries(1))
	return refused(err, kerr.UnknownTopicOrPartition)
}

func topicRefused(ctx context.Context) error {
	topic, err := newTopic(ctx, "exists", 1)
	if err != nil {
		return err
	}
	if err := refused(create(ctx, topic, 1), kerr.TopicAlreadyExists); err != nil {
		return err
	}
	if err := refused(create(ctx, "with blank", 1), kerr.InvalidTopicException); err != nil {
		return err
	}
	return refused(create(ctx, topicName("none"), 0), kerr.InvalidPartitions)
}

func deleteRecreate(ctx context.Context) error {
	topic, err := newTopic(ctx, "recreate", 1)
	if err != nil {
		return err
	}
	if err := produce(ctx, records(topic, 10)); err != nil {
		return err
	}
	if err := remove(ctx, topic); err != nil {
		return err
	}
	if err := create(ctx, topic, 1); err != nil {
		return err
	}
	sent := records(topic, 5)
	if err := produce(ctx, sent); err != nil {
		return err
	}
	found, err := consume(ctx, topic, 0, kgo.NewOffset().AtStart(), 5)
	if err != nil {
		return err
	}
	return same(sent, found, 0)
}
