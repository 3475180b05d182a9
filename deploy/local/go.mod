module github.com/revstream/revstream/deploy/local

go 1.26.0

require (
	github.com/ClickHouse/clickhouse-go/v2 v2.50.0
	github.com/alecthomas/kong v1.17.0
	github.com/compose-spec/compose-go/v2 v2.16.2
	github.com/revstream/revstream/consumers v0.0.0
	github.com/revstream/revstream/deploy/embedded v0.0.0
	github.com/revstream/revstream/dlq-replayer v0.0.0
	github.com/revstream/revstream/pipeline v0.0.0
	github.com/revstream/revstream/producers v0.0.0
	github.com/revstream/revstream/schemas v0.0.0
	github.com/segmentio/kafka-go v0.4.51
	github.com/stretchr/testify v1.12.1
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	github.com/twmb/franz-go/pkg/sr v1.8.0
	go.uber.org/goleak v1.3.0
)

replace github.com/revstream/revstream/schemas => ../../schemas

replace github.com/revstream/revstream/pipeline => ../../pipeline

replace github.com/revstream/revstream/producers => ../../producers

replace github.com/revstream/revstream/consumers => ../../consumers

replace github.com/revstream/revstream/dlq-replayer => ../../dlq-replayer

replace github.com/revstream/revstream/deploy/embedded => ../../deploy/embedded
