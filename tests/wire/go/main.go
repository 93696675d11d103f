// Command wire runs franz-go, a client in pure Go, against a broker: `wire HOST:PORT`.
//
// It prints `ok NAME` or `FAILED NAME` per check and exits with 1 if one failed. No consumer groups: partitions are
// assigned by hand.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 30 * time.Second

var bootstrap string

type check struct {
	name string
	run  func(ctx context.Context) error
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wire HOST:PORT")
		os.Exit(2)
	}
	bootstrap = os.Args[1]
	failed := 0
	for _, c := range append(codecChecks(), checks...) {
		if err := guarded(c.run); err != nil {
			failed++
			fmt.Printf("FAILED franz-go-%s: %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("ok franz-go-%s\n", c.name)
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func guarded(run func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panicked: %v", panicked)
		}
	}()
	return run(ctx)
}

// codecChecks are every codec with every kind of acknowledgement.
func codecChecks() []check {
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	modes := []struct {
		name    string
		options []kgo.Opt
	}{
		{"acks-0", []kgo.Opt{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()}},
		{"acks-1", []kgo.Opt{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()}},
		{"acks-all", []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite()}},
		{"idempotent", nil},
	}
	var all []check
	for _, codec := range codecs {
		for _, mode := range modes {
			all = append(all, check{codec.name + "-" + mode.name, func(ctx context.Context) error {
				options := append([]kgo.Opt{kgo.ProducerBatchCompression(codec.codec)}, mode.options...)
				return roundTrip(ctx, mode.name == "acks-0", options)
			}})
		}
	}
	return all
}
