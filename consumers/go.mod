module github.com/revstream/revstream/consumers

go 1.26.0

require (
	github.com/ClickHouse/clickhouse-go/v2 v2.50.0
	github.com/alecthomas/kong v1.17.0
	github.com/google/uuid v1.6.0
	github.com/pressly/goose/v3 v3.29.0
	github.com/revstream/revstream/deploy/embedded v0.0.0
	github.com/revstream/revstream/pipeline v0.0.0
	github.com/revstream/revstream/schemas v0.0.0
	github.com/shopspring/decimal v1.6.0
	github.com/stretchr/testify v1.12.1
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/sr v1.8.0
	go.uber.org/goleak v1.3.0
)

replace github.com/revstream/revstream/schemas => ../schemas

replace github.com/revstream/revstream/pipeline => ../pipeline

replace github.com/revstream/revstream/deploy/embedded => ../deploy/embedded
