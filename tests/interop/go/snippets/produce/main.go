package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cmp.Or(os.Getenv("BOOTSTRAP"), "localhost:9092")),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	record := &kgo.Record{Topic: "greetings", Key: []byte("franz-go"), Value: []byte("hello from franz-go")}
	if err := client.ProduceSync(context.Background(), record).FirstErr(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("stored at %s-%d@%d\n", record.Topic, record.Partition, record.Offset)
}
