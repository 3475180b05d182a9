// Command forecast-consumer brings forecasts and export runs from Kafka into ClickHouse, each event once.
package main

import (
	"github.com/revstream/revstream/consumers"
	"github.com/revstream/revstream/consumers/service"
)

func main() {
	service.Main("forecast-consumer", "Brings forecasts and export runs from Kafka into ClickHouse, each event once.",
		"127.0.0.1:8103", consumers.Forecast, consumers.ExportRuns)
}
