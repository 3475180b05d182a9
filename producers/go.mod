module github.com/revstream/revstream/producers

go 1.26.0

require (
	github.com/alecthomas/kong v1.17.0
	github.com/failsafe-go/failsafe-go v0.9.8
	github.com/google/uuid v1.6.0
	github.com/prometheus/client_golang v1.25.0
	github.com/revstream/revstream/deploy/embedded v0.0.0
	github.com/revstream/revstream/pipeline v0.0.0
	github.com/revstream/revstream/schemas v0.0.0
	github.com/shopspring/decimal v1.6.0
	github.com/stretchr/testify v1.12.1
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	github.com/twmb/franz-go/pkg/sr v1.8.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.24.0
)

replace github.com/revstream/revstream/schemas => ../schemas

replace github.com/revstream/revstream/pipeline => ../pipeline

replace github.com/revstream/revstream/deploy/embedded => ../deploy/embedded
