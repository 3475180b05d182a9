package desk

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

type judge struct{}

func newJudge(*kgo.Client, *slog.Logger, string) *judge { return &judge{} }

func (*judge) sent(string, int32, int64, string) {}

func (*judge) poll(context.Context) (judged, returned int, err error) { return 0, 0, nil }
