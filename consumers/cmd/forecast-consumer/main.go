// Command forecast-consumer brings forecasts, export runs and what was decided about dead letters from Kafka into ClickHouse, each once.
package main

import (
	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/service"
)

func main() {
	service.Main("forecast-consumer", "Brings forecasts, export runs and what was decided about dead letters from Kafka into ClickHouse, each once.",
		"127.0.0.1:8103", consumers.Forecast, consumers.ExportRuns, consumers.Audit)
}
