// Command people-consumer brings people, export runs and what was decided about dead letters from Kafka into ClickHouse, each once.
package main

import (
	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/service"
)

func main() {
	service.Main("people-consumer", "Brings people, export runs and what was decided about dead letters from Kafka into ClickHouse, each once.",
		"127.0.0.1:8104", consumers.People, consumers.ExportRuns, consumers.Audit)
}
