// Peer does what a dispatching worker does at its barest: a job from Kafka, one POST, a result into Kafka.
//
// It has no limits, no journal and no metrics. Jobs are read as a consumer group with automatic commits.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/url"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

type job struct {
	ID   string `json:"id"`
	To   string `json:"to"`
	Body string `json:"body"`
}

type created struct {
	SID string `json:"sid"`
}

type result struct {
	ID     string `json:"id"`
	To     string `json:"to"`
	Status string `json:"status"`
	SID    string `json:"sid,omitempty"`
}

// poster sends a form and returns the answer's status and body; the body is good until the next call.
type poster func(form []byte) (int, []byte, error)

func main() {
	kafka := flag.String("kafka", "", "bootstrap server")
	jobs := flag.String("jobs", "", "topic to read")
	results := flag.String("results", "", "topic to write")
	group := flag.String("group", "", "consumer group")
	base := flag.String("url", "", "Twilio, or its stand-in")
	sid := flag.String("sid", "", "account SID")
	token := flag.String("token", "", "auth token")
	connections := flag.Int("connections", 128, "requests in flight")
	client := flag.String("client", "net/http", "net/http or fasthttp")
	flag.Parse()

	makers := map[string]func(string, string, string, int) func() poster{"net/http": netHTTP, "fasthttp": fastHTTP}
	target := *base + "/2010-04-01/Accounts/" + *sid + "/Messages.json"
	makePoster := makers[*client](target, *sid, *token, *connections)

	broker, err := kgo.NewClient(
		kgo.SeedBrokers(*kafka),
		kgo.ConsumerGroup(*group),
		kgo.ConsumeTopics(*jobs),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DefaultProduceTopic(*results),
	)
	if err != nil {
		log.Fatal(err)
	}

	records := make(chan *kgo.Record, *connections)
	var workers sync.WaitGroup
	for range *connections {
		workers.Go(func() { work(broker, records, makePoster()) })
	}
	for {
		fetches := broker.PollFetches(context.Background())
		if err := fetches.Err(); errors.Is(err, kgo.ErrClientClosed) {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		fetches.EachRecord(func(record *kgo.Record) { records <- record })
	}
	close(records)
	workers.Wait()
}

func work(broker *kgo.Client, records <-chan *kgo.Record, post poster) {
	for record := range records {
		var job job
		if err := json.Unmarshal(record.Value, &job); err != nil {
			log.Fatal(err)
		}
		made := result{ID: job.ID, To: job.To, Status: "unknown"}
		if status, body, err := post(form(job)); err != nil {
			log.Print(err)
		} else if status == 201 {
			var message created
			if err := json.Unmarshal(body, &message); err != nil {
				log.Fatal(err)
			}
			made.Status, made.SID = "accepted", message.SID
		}
		value, err := json.Marshal(made)
		if err != nil {
			log.Fatal(err)
		}
		broker.Produce(context.Background(), &kgo.Record{Key: []byte(job.ID), Value: value}, produced)
	}
}

func form(job job) []byte {
	var form strings.Builder
	form.WriteString("From=72345&To=")
	form.WriteString(url.QueryEscape(job.To))
	form.WriteString("&Body=")
	form.WriteString(url.QueryEscape(job.Body))
	return []byte(form.String())
}

func produced(_ *kgo.Record, err error) {
	if err != nil {
		log.Fatal(err)
	}
}
