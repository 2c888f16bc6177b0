// franz-go behind the command line that ../python/client.py describes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	mode            = flag.String("mode", "", "idempotent, transactional, consume or commands")
	bootstrap       = flag.String("bootstrap", "", "")
	topic           = flag.String("topic", "", "")
	batches         = flag.String("batches", "", "the file of steps")
	transactionalID = flag.String("transactional-id", "", "")
	compression     = flag.String("compression", "none", "")
	records         = flag.String("records", "step", "step or alone")
	until           = flag.String("until", "", "read on until this value")
	seconds         = flag.Int("seconds", 60, "give up after this time")
)

// How long the broker waits before it answers a fetch with nothing.
const fetchWait = 200 * time.Millisecond

const fetchKey = 1

const retryAfter = 50 * time.Millisecond

// A batch with one of the records of `--records alone` must not hold a second one.
const aloneBytesMax = 512

type fields map[string]any

func say(line fields) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func fatal(err error) {
	say(fields{"fatal": err.Error()})
	os.Exit(1)
}

// failed is an error as the protocol names it; franz-go keeps neither the broker's message nor its record errors.
func failed(line fields, err error) fields {
	line["error"], line["code"], line["message"] = "other", -1, err.Error()
	var known *kerr.Error
	if errors.As(err, &known) {
		line["error"], line["code"] = known.Message, known.Code
	}
	return line
}

// moduleVersion is what the program was built with.
func moduleVersion(path string) string {
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, module := range built.Deps {
			if module.Path == path {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}

func main() {
	flag.Parse()
	if *mode != "commands" {
		time.AfterFunc(time.Duration(*seconds)*time.Second, func() {
			fatal(fmt.Errorf("not done after %d s", *seconds))
		})
	}
	var err error
	switch *mode {
	case "idempotent", "transactional":
		err = produce(context.Background())
	case "consume":
		err = consume(context.Background())
	case "commands":
		err = commands()
	default:
		err = fmt.Errorf("no such mode: %q", *mode)
	}
	if err != nil {
		fatal(err)
	}
}

func codec() (kgo.CompressionCodec, error) {
	switch *compression {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("no such compression: %q", *compression)
}

func produce(ctx context.Context) error {
	codec, err := codec()
	if err != nil {
		return err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(*bootstrap),
		kgo.DefaultProduceTopic(*topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec),
		// After a lost connection it asks for metadata before it sends again, and by default not for 2.5 s.
		kgo.MetadataMinAge(retryAfter),
		kgo.RetryBackoffFn(func(int) time.Duration { return retryAfter }),
	}
	if *records == "alone" {
		options = append(options, kgo.ProducerBatchMaxBytes(aloneBytesMax))
	} else {
		options = append(options, kgo.ManualFlushing())
	}
	if *mode == "transactional" {
		options = append(options, kgo.TransactionalID(*transactionalID))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	file, err := os.Open(*batches)
	if err != nil {
		return err
	}
	defer file.Close()
	open := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		step := strings.Split(lines.Text(), "\t")
		if open, err = take(ctx, client, open, step[0], step[1:]); err != nil {
			return err
		}
	}
	return nil
}

// take does one step and tells whether a transaction is open after it.
func take(ctx context.Context, client *kgo.Client, open bool, then string, values []string) (bool, error) {
	if *mode == "transactional" && !open {
		if err := client.BeginTransaction(); err != nil {
			return false, err
		}
	}
	good, err := send(ctx, client, values)
	if err != nil || *mode == "idempotent" {
		return false, err
	}
	if then == "flush" && good {
		return true, nil
	}
	end, name := kgo.TryAbort, "abort"
	if then == "commit" && good {
		end, name = kgo.TryCommit, "commit"
	}
	err = client.EndTransaction(ctx, end)
	if err == nil {
		say(fields{name: "ok"})
		return false, nil
	}
	say(failed(fields{name: "error"}, err))
	if end == kgo.TryCommit {
		if err = client.EndTransaction(ctx, kgo.TryAbort); err == nil {
			say(fields{"abort": "ok"})
		}
	}
	return false, err
}

// send sends one step and tells whether all of it was acknowledged.
func send(ctx context.Context, client *kgo.Client, values []string) (bool, error) {
	sent := make([]*kgo.Record, len(values))
	outcomes := make([]error, len(values))
	for at, value := range values {
		sent[at] = kgo.StringRecord(value)
		client.Produce(ctx, sent[at], func(_ *kgo.Record, err error) { outcomes[at] = err })
	}
	if err := client.Flush(ctx); err != nil {
		return false, err
	}
	good := true
	for at, value := range values {
		line := fields{"value": value}
		if outcomes[at] != nil {
			good = false
			say(failed(line, outcomes[at]))
		} else {
			line["offset"] = sent[at].Offset
			say(line)
		}
	}
	return good, nil
}

// reading counts the answers to fetches since the last batch: franz-go tells nobody that it is behind an empty one.
type reading struct{ withoutBatch atomic.Int32 }

func (r *reading) OnFetchBatchRead(kgo.BrokerMetadata, string, int32, kgo.FetchBatchMetrics) {
	r.withoutBatch.Store(0)
}

func (r *reading) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == fetchKey && err == nil {
		r.withoutBatch.Add(1)
	}
}

// isAtEnd: the broker has nothing more to give. The last answer may be counted and its batches not yet read.
func (r *reading) isAtEnd() bool { return r.withoutBatch.Load() >= 3 }

func consume(ctx context.Context) error {
	hook := &reading{}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(*bootstrap),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(fetchWait),
		kgo.WithHooks(hook),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{*topic: {0: kgo.NewOffset().AtStart()}}),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	end, err := endOffset(ctx, client)
	if err != nil {
		return err
	}
	var position int64
	ended, wanted := false, *until != ""
	for wanted || !ended {
		fetches := poll(ctx, client)
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, context.DeadlineExceeded) {
				return failed.Err
			}
		}
		fetches.EachRecord(func(record *kgo.Record) {
			headers := map[string]string{}
			for _, header := range record.Headers {
				headers[header.Key] = string(header.Value)
			}
			say(fields{"value": string(record.Value), "offset": record.Offset, "headers": headers})
			wanted = wanted && string(record.Value) != *until
			position = record.Offset + 1
		})
		if !ended && (position >= end || hook.isAtEnd()) {
			ended = true
			say(fields{"end": end, "position": position})
		}
	}
	return nil
}

func poll(ctx context.Context, client *kgo.Client) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	return client.PollFetches(ctx)
}

// endOffset asks for the last stable offset.
func endOffset(ctx context.Context, client *kgo.Client) (int64, error) {
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Timestamp = -1
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic, asked.Partitions = *topic, append(asked.Partitions, partition)
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.IsolationLevel = -1, 1
	request.Topics = append(request.Topics, asked)
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return 0, shard.Err
		}
		answer := shard.Resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		return answer.Offset, kerr.ErrorForCode(answer.ErrorCode)
	}
	return 0, errors.New("nobody answered ListOffsets")
}
