package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var topicCount int

// records are some without key, some without value, some with headers, one of them null; a millisecond apart.
func records(topic string, count int) []*kgo.Record {
	base := time.Now().Add(-time.Minute).UnixMilli()
	all := make([]*kgo.Record, count)
	for n := range all {
		record := &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(base + int64(n))}
		if n%7 != 0 {
			record.Key = fmt.Appendf(nil, "key-%d", n%10)
		}
		if n%5 != 0 {
			record.Value = fmt.Appendf(nil, "value-%d %s", n, bytes.Repeat([]byte("ringlog "), 20))
		}
		if n%3 == 0 {
			record.Headers = []kgo.RecordHeader{
				{Key: "a", Value: fmt.Append(nil, n)}, {Key: "b", Value: []byte{}}, {Key: "c", Value: nil},
			}
		}
		all[n] = record
	}
	return all
}

func noise(topic string, size int) *kgo.Record {
	value := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(value)
	return &kgo.Record{Topic: topic, Value: value, Timestamp: time.UnixMilli(1_700_000_000_000)}
}

// same wants the records found to be those expected, at dense offsets from first on.
func same(expected, found []*kgo.Record, first int64) error {
	if len(found) != len(expected) {
		return fmt.Errorf("%d records instead of %d", len(found), len(expected))
	}
	for n, wanted := range expected {
		record := found[n]
		if record.Offset != first+int64(n) {
			return fmt.Errorf("offset %d where %d was due", record.Offset, first+int64(n))
		}
		if !equal(record.Key, wanted.Key) || !equal(record.Value, wanted.Value) {
			return fmt.Errorf("at %d: key %q value %q", record.Offset, record.Key, record.Value)
		}
		if !record.Timestamp.Equal(wanted.Timestamp) {
			return fmt.Errorf("at %d: time %v instead of %v", record.Offset, record.Timestamp, wanted.Timestamp)
		}
		if len(record.Headers) != len(wanted.Headers) {
			return fmt.Errorf("at %d: %d headers instead of %d", record.Offset, len(record.Headers), len(wanted.Headers))
		}
		for h, header := range wanted.Headers {
			if record.Headers[h].Key != header.Key || !equal(record.Headers[h].Value, header.Value) {
				return fmt.Errorf("at %d: header %v instead of %v", record.Offset, record.Headers[h], header)
			}
		}
	}
	return nil
}

// equal tells null from empty.
func equal(a, b []byte) bool {
	return bytes.Equal(a, b) && (a == nil) == (b == nil)
}

func topicName(what string) string {
	topicCount++
	return fmt.Sprintf("wire-go-%s-%d-%d-%d", what, time.Now().UnixMilli(), os.Getpid(), topicCount)
}

func newTopic(ctx context.Context, what string, partitions int32) (string, error) {
	name := topicName(what)
	return name, create(ctx, name, partitions)
}

func create(ctx context.Context, name string, partitions int32) error {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics, request.TimeoutMillis = append(request.Topics, topic), 10_000
	response, err := asked(ctx, request)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
}

func remove(ctx context.Context, name string) error {
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.Topics, request.TopicNames = append(request.Topics, topic), []string{name}
	request.TimeoutMillis = 10_000
	response, err := asked(ctx, request)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode)
}

// asked sends one request, without the client's own retries, to the only broker there is.
func asked(ctx context.Context, request kmsg.Request) (kmsg.Response, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.SeedBrokers()[0].Request(ctx, request)
}

// listed is the offset that the broker has for a time; -1 is the end, -2 the start.
func listed(ctx context.Context, topic string, partition int32, timestamp int64) (int64, error) {
	wanted := kmsg.NewListOffsetsRequestTopicPartition()
	wanted.Partition, wanted.Timestamp = partition, timestamp
	inTopic := kmsg.NewListOffsetsRequestTopic()
	inTopic.Topic, inTopic.Partitions = topic, append(inTopic.Partitions, wanted)
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.Topics = -1, append(request.Topics, inTopic)
	response, err := asked(ctx, request)
	if err != nil {
		return 0, err
	}
	found := response.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return found.Offset, kerr.ErrorForCode(found.ErrorCode)
}

func produce(ctx context.Context, all []*kgo.Record, options ...kgo.Opt) error {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20 * time.Millisecond),
	}, options...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(ctx, all...).FirstErr()
}

// consume reads count records from an offset on, and a moment more to see that nothing follows.
func consume(ctx context.Context, topic string, partition int32, from kgo.Offset, count int, options ...kgo.Opt) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var found []*kgo.Record
	for len(found) < count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return found, fmt.Errorf("%d of %d records: %w", len(found), count, err)
		}
		for _, err := range fetches.Errors() {
			return found, err.Err
		}
		found = append(found, fetches.Records()...)
	}
	moment, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	return append(found, client.PollFetches(moment).Records()...), nil
}

func refused(err error, expected *kerr.Error) error {
	if !errors.Is(err, expected) {
		return fmt.Errorf("%v instead of %v", err, expected)
	}
	return nil
}
