// Command people-consumer brings people and export runs from Kafka into ClickHouse, each event once.
package main

import (
	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/service"
)

func main() {
	service.Main("people-consumer", "Brings people and export runs from Kafka into ClickHouse, each event once.",
		"127.0.0.1:8104", consumers.People, consumers.ExportRuns)
}
