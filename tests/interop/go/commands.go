package main

// franz-go behind the language of ../python/language.py.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The least that the broker takes, so that a killed member is missed soon.
const sessionTimeout = 6 * time.Second

const commandTimeout = 30 * time.Second

// kgo keeps batches below the broker's limit only by its own setting; this is Kafka's default of the broker.
const batchBytesMax = 1_048_588

type place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

type header struct {
	name  string
	value *string
}

func (h header) MarshalJSON() ([]byte, error) { return json.Marshal([2]any{h.name, h.value}) }

func (h *header) UnmarshalJSON(data []byte) error {
	pair := [2]any{&h.name, &h.value}
	return json.Unmarshal(data, &pair)
}

type record struct {
	place
	Key       *string  `json:"key"`
	Value     *string  `json:"value"`
	Headers   []header `json:"headers"`
	Timestamp *int64   `json:"timestamp"`
}

type command struct {
	Do              string             `json:"do"`
	Name            string             `json:"name"`
	Bootstrap       string             `json:"bootstrap"`
	Seconds         int                `json:"seconds"`
	Topic           string             `json:"topic"`
	Partition       int32              `json:"partition"`
	Partitions      int                `json:"partitions"`
	Config          map[string]*string `json:"config"`
	Before          int64              `json:"before"`
	Group           string             `json:"group"`
	Compression     string             `json:"compression"`
	Idempotent      bool               `json:"idempotent"`
	TransactionalID string             `json:"transactional_id"`
	TimeoutMs       int                `json:"transaction_timeout_ms"`
	Records         []record           `json:"records"`
	Isolation       string             `json:"isolation"`
	Strategy        string             `json:"strategy"`
	Protocol        string             `json:"protocol"`
	Offset          int64              `json:"offset"`
	Time            *int64             `json:"time"`
	Count           int                `json:"count"`
	Ms              int                `json:"ms"`
	Commit          bool               `json:"commit"`
	Consumer        string             `json:"consumer"`
}

// A producer or a consumer, or both in a session.
type own struct {
	client  *kgo.Client
	session *kgo.GroupTransactSession
	options []kgo.Opt

	lock       sync.Mutex
	assignment []int32
}

type commander struct {
	bootstrap string
	client    *kgo.Client
	admin     *kadm.Client
	owned     map[string]*own
}

func commands() error {
	commander := &commander{owned: map[string]*own{}}
	for lines := bufio.NewReader(os.Stdin); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var asked command
		if err := json.Unmarshal(line, &asked); err != nil {
			return err
		}
		answer, err := commander.answer(asked)
		if err != nil {
			answer = fields{"error": err.Error(), "code": -1}
			var known *kerr.Error
			if errors.As(err, &known) {
				answer["code"] = known.Code
			}
		} else if answer == nil {
			answer = fields{}
		}
		say(answer)
	}
}

func (c *commander) answer(asked command) (fields, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	switch asked.Do {
	case "hello":
		return c.hello(asked)
	case "producer":
		return nil, c.producer(ctx, asked)
	case "session":
		return nil, c.startSession(asked)
	case "consumer":
		c.owned[asked.Name] = &own{options: c.consumerOptions(asked)}
		return nil, nil
	}
	if used, found := c.owned[asked.Name]; found {
		return used.answer(ctx, c, asked)
	}
	return c.administer(ctx, asked)
}

func (c *commander) hello(asked command) (fields, error) {
	time.AfterFunc(time.Duration(asked.Seconds)*time.Second, func() { os.Exit(3) })
	client, err := kgo.NewClient(kgo.SeedBrokers(asked.Bootstrap), kgo.MetadataMinAge(retryAfter))
	if err != nil {
		return nil, err
	}
	c.bootstrap, c.client, c.admin = asked.Bootstrap, client, kadm.NewClient(client)
	return fields{"client": "franz-go", "version": moduleVersion("github.com/twmb/franz-go")}, nil
}

func (c *commander) administer(ctx context.Context, asked command) (fields, error) {
	switch asked.Do {
	case "create_topic":
		_, err := c.admin.CreateTopic(ctx, int32(asked.Partitions), 1, asked.Config, asked.Topic)
		return nil, err
	case "describe_topic":
		details, err := c.admin.ListTopics(ctx, asked.Topic)
		if err == nil {
			err = details[asked.Topic].Err
		}
		return fields{"partitions": len(details[asked.Topic].Partitions)}, err
	case "grow_topic":
		answers, err := c.admin.UpdatePartitions(ctx, asked.Partitions, asked.Topic)
		if err == nil {
			err = answers.Error()
		}
		return nil, err
	case "delete_topic":
		_, err := c.admin.DeleteTopic(ctx, asked.Topic)
		return nil, err
	case "describe_config", "alter_config":
		return c.config(ctx, asked)
	case "delete_records":
		var before kadm.Offsets
		before.Add(kadm.Offset{Topic: asked.Topic, Partition: asked.Partition, At: asked.Before})
		answers, err := c.admin.DeleteRecords(ctx, before)
		if err == nil {
			err = answers.Error()
		}
		return fields{"low": answers[asked.Topic][asked.Partition].LowWatermark}, err
	case "offsets":
		earliest, err := c.admin.ListStartOffsets(ctx, asked.Topic)
		if err != nil {
			return nil, err
		}
		latest, err := c.admin.ListEndOffsets(ctx, asked.Topic)
		at := func(listed kadm.ListedOffsets) int64 { return listed[asked.Topic][asked.Partition].Offset }
		return fields{"earliest": at(earliest), "latest": at(latest)}, err
	}
	return c.administerGroup(ctx, asked)
}

func (c *commander) config(ctx context.Context, asked command) (fields, error) {
	if asked.Do == "describe_config" {
		found, err := c.admin.DescribeTopicConfigs(ctx, asked.Topic)
		if err != nil {
			return nil, err
		}
		config := map[string]*string{}
		described, err := found.On(asked.Topic, nil)
		for _, entry := range described.Configs {
			config[entry.Key] = entry.Value
		}
		return fields{"config": config}, errors.Join(err, described.Err)
	}
	var changes []kadm.AlterConfig
	for name, value := range asked.Config {
		change := kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value}
		if value == nil {
			change.Op = kadm.DeleteConfig
		}
		changes = append(changes, change)
	}
	answers, err := c.admin.AlterTopicConfigs(ctx, changes, asked.Topic)
	for _, answer := range answers {
		err = errors.Join(err, answer.Err)
	}
	return nil, err
}

func (c *commander) administerGroup(ctx context.Context, asked command) (fields, error) {
	switch asked.Do {
	case "describe_group":
		described, err := c.admin.DescribeGroups(ctx, asked.Group)
		if err == nil {
			err = described.Error()
		}
		return fields{"state": described[asked.Group].State, "members": len(described[asked.Group].Members)}, err
	case "group_offsets":
		found, err := c.admin.FetchOffsets(ctx, asked.Group)
		offsets := map[string]int64{}
		found.Each(func(answer kadm.OffsetResponse) {
			if answer.Topic == asked.Topic {
				offsets[fmt.Sprint(answer.Partition)] = answer.At
			}
		})
		return fields{"offsets": offsets}, err
	case "delete_group":
		_, err := c.admin.DeleteGroup(ctx, asked.Group)
		return nil, err
	}
	return nil, fmt.Errorf("no such command, or no %q: %s", asked.Name, asked.Do)
}

func (c *commander) producerOptions(asked command) ([]kgo.Opt, error) {
	*compression = asked.Compression
	if asked.Compression == "" {
		*compression = "none"
	}
	codec, err := codec()
	if err != nil {
		return nil, err
	}
	bootstrap := c.bootstrap
	if asked.Bootstrap != "" {
		bootstrap = asked.Bootstrap
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(batchBytesMax), kgo.MetadataMinAge(retryAfter),
		kgo.RetryBackoffFn(func(int) time.Duration { return retryAfter }),
	}
	if asked.TransactionalID != "" {
		options = append(options, kgo.TransactionalID(asked.TransactionalID))
		if asked.TimeoutMs > 0 {
			options = append(options, kgo.TransactionTimeout(time.Duration(asked.TimeoutMs)*time.Millisecond))
		}
	} else if !asked.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	return options, nil
}

func (c *commander) producer(ctx context.Context, asked command) error {
	options, err := c.producerOptions(asked)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	c.owned[asked.Name] = &own{client: client}
	if asked.TransactionalID != "" {
		// Elsewhere this initialises the producer; here it would happen with the first transaction.
		_, _, err = client.ProducerID(ctx)
	}
	return err
}

func (c *commander) consumerOptions(asked command) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(c.bootstrap), kgo.FetchMaxWait(100 * time.Millisecond), kgo.MetadataMinAge(retryAfter),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}
	if asked.Isolation != "read_uncommitted" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if asked.Group == "" {
		return options
	}
	options = append(options, kgo.ConsumerGroup(asked.Group), kgo.DisableAutoCommit())
	if asked.Strategy == "cooperative" {
		options = append(options, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	} else {
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	if asked.Protocol == "consumer" {
		return append(options, kgo.ServerSideBalancer())
	}
	return append(options, kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(sessionTimeout/10))
}

// startSession makes the one client that franz-go wants for both ends of a transaction with offsets.
func (c *commander) startSession(asked command) error {
	options, err := c.producerOptions(asked)
	if err != nil {
		return err
	}
	// A topic that was just made is looked for again soon.
	options = append(append(c.consumerOptions(asked), options...), kgo.ConsumeTopics(asked.Topic))
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return err
	}
	both := &own{client: session.Client(), session: session}
	c.owned[asked.Name], c.owned[asked.Consumer] = both, both
	return nil
}

func (o *own) answer(ctx context.Context, c *commander, asked command) (fields, error) {
	switch asked.Do {
	case "send":
		return o.send(ctx, asked.Records)
	case "begin":
		return nil, o.client.BeginTransaction()
	case "commit":
		return nil, o.end(ctx, kgo.TryCommit)
	case "abort":
		return nil, o.end(ctx, kgo.TryAbort)
	case "send_offsets":
		// A session commits what it has polled.
		return nil, nil
	case "assign":
		return o.assign(ctx, c, asked)
	case "subscribe":
		return nil, o.subscribe(asked.Topic)
	case "poll":
		return o.poll(ctx, asked)
	case "close":
		delete(c.owned, asked.Name)
		if o.client != nil {
			o.client.CloseAllowingRebalance()
		}
		return nil, nil
	}
	return nil, fmt.Errorf("no such command: %s", asked.Do)
}

func (o *own) send(ctx context.Context, records []record) (fields, error) {
	sent := make([]*kgo.Record, len(records))
	for at, given := range records {
		one := &kgo.Record{Topic: given.Topic, Partition: given.Partition, Key: bytesOf(given.Key), Value: bytesOf(given.Value)}
		if given.Timestamp != nil {
			one.Timestamp = time.UnixMilli(*given.Timestamp)
		}
		for _, header := range given.Headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: header.name, Value: bytesOf(header.value)})
		}
		sent[at] = one
	}
	if err := o.client.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return nil, err
	}
	offsets := make([]int64, len(sent))
	for at, one := range sent {
		offsets[at] = one.Offset
	}
	return fields{"offsets": offsets}, nil
}

func (o *own) end(ctx context.Context, how kgo.TransactionEndTry) error {
	if o.session == nil {
		return o.client.EndTransaction(ctx, how)
	}
	committed, err := o.session.End(ctx, how)
	if err == nil && bool(how) && !committed {
		err = errors.New("the session did not commit")
	}
	return err
}

func (o *own) assign(ctx context.Context, c *commander, asked command) (fields, error) {
	offset := asked.Offset
	if asked.Time != nil {
		listed, err := c.admin.ListOffsetsAfterMilli(ctx, *asked.Time, asked.Topic)
		if err != nil {
			return nil, err
		}
		offset = listed[asked.Topic][asked.Partition].Offset
	}
	client, err := kgo.NewClient(append(o.options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		asked.Topic: {asked.Partition: kgo.NewOffset().At(offset)},
	}))...)
	o.client, o.assignment = client, []int32{asked.Partition}
	return fields{"offset": offset}, err
}

func (o *own) subscribe(topic string) error {
	gained := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		o.lock.Lock()
		defer o.lock.Unlock()
		o.assignment = append(o.assignment, partitions[topic]...)
		slices.Sort(o.assignment)
	}
	lost := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		o.lock.Lock()
		defer o.lock.Unlock()
		o.assignment = slices.DeleteFunc(o.assignment, func(one int32) bool {
			return slices.Contains(partitions[topic], one)
		})
	}
	client, err := kgo.NewClient(append(o.options, kgo.ConsumeTopics(topic),
		kgo.OnPartitionsAssigned(gained), kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost))...)
	o.client = client
	return err
}

func (o *own) poll(ctx context.Context, asked command) (fields, error) {
	until, cancel := context.WithTimeout(ctx, time.Duration(asked.Ms)*time.Millisecond)
	defer cancel()
	answer := fields{}
	if asked.Commit {
		if err := o.client.CommitUncommittedOffsets(ctx); err != nil {
			answer["commit_error"] = err.Error()
		}
	}
	var polled []*kgo.Record
	for len(polled) < asked.Count && until.Err() == nil {
		var fetches kgo.Fetches
		if o.session != nil {
			fetches = o.session.PollRecords(until, asked.Count-len(polled))
		} else {
			fetches = o.client.PollRecords(until, asked.Count-len(polled))
		}
		for _, failed := range fetches.Errors() {
			if !errors.Is(failed.Err, context.DeadlineExceeded) {
				return nil, failed.Err
			}
		}
		polled = append(polled, fetches.Records()...)
	}
	shown := make([]record, len(polled))
	for at, one := range polled {
		shown[at] = shownRecord(one)
	}
	o.lock.Lock()
	defer o.lock.Unlock()
	answer["records"], answer["assignment"] = shown, append([]int32{}, o.assignment...)
	return answer, nil
}

func shownRecord(one *kgo.Record) record {
	timestamp := one.Timestamp.UnixMilli()
	shown := record{
		place: place{one.Topic, one.Partition, one.Offset}, Key: textOf(one.Key), Value: textOf(one.Value),
		Timestamp: &timestamp, Headers: []header{},
	}
	for _, got := range one.Headers {
		shown.Headers = append(shown.Headers, header{got.Key, textOf(got.Value)})
	}
	return shown
}

func bytesOf(text *string) []byte {
	if text == nil {
		return nil
	}
	return []byte(*text)
}

func textOf(data []byte) *string {
	if data == nil {
		return nil
	}
	text := string(data)
	return &text
}
