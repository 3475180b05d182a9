package retention

import (
	"testing"

	"github.com/revstream/revstream/pipeline/pipelinetest"
)

func TestMain(m *testing.M) { pipelinetest.Main(m) }
