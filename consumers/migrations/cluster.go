package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// localSuffix is that of the tables that hold a shard's rows.
const localSuffix = "_local"

// rendered is the migrations as a cluster needs them: the same files, each statement on every server.
type rendered struct {
	fs.FS
	layout   Layout
	database string
}

// Open implements fs.FS.
func (r rendered) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return f, err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	text, err := r.layout.render(r.database, string(raw))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rendering %s for a cluster: %w", name, err), f.Close())
	}
	return &renderedFile{File: f, text: strings.NewReader(text)}, nil
}

type renderedFile struct {
	fs.File
	text *strings.Reader
}

// Read implements fs.File.
func (f *renderedFile) Read(p []byte) (int, error) { return f.text.Read(p) }

// render turns the statements of a file into those of a cluster, and leaves what stands between them.
func (l Layout) render(database, file string) (string, error) {
	var out strings.Builder
	shardedBy := ""
	for block := range strings.SplitSeq(file, "\n\n") {
		var comments, statement []string
		for line := range strings.SplitSeq(strings.Trim(block, "\n"), "\n") {
			if by, ok := strings.CutPrefix(line, "-- sharded by: "); ok {
				shardedBy = by
			}
			if len(statement) == 0 && (strings.HasPrefix(line, "--") || line == "") {
				comments = append(comments, line)
				continue
			}
			statement = append(statement, line)
		}
		parts := comments
		if len(statement) > 0 {
			statements, err := l.statements(database, strings.Join(statement, "\n"), shardedBy)
			if err != nil {
				return "", fmt.Errorf("%s: %w", statement[0], err)
			}
			parts, shardedBy = append(parts, strings.Join(statements, "\n\n")), ""
		}
		out.WriteString(strings.Join(parts, "\n") + "\n\n")
	}
	return strings.TrimRight(out.String(), "\n") + "\n", nil
}

// What a migration may say.
var (
	createTable = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)\n\(\n`)
	createView  = regexp.MustCompile(`^CREATE (OR REPLACE VIEW|VIEW IF NOT EXISTS) (\w+)\s`)
	alterTable  = regexp.MustCompile(`^ALTER TABLE (\w+)\s+`)
	drop        = regexp.MustCompile(`^DROP (TABLE|VIEW) IF EXISTS (\w+);$`)

	engine       = regexp.MustCompile(`(?m)^ENGINE = ((?:Replacing|Aggregating|Summing|Collapsing|VersionedCollapsing)?MergeTree\b)`)
	comment      = regexp.MustCompile(`(?m)^COMMENT '.*';$`)
	alterColumn  = regexp.MustCompile(`^(ADD|DROP|MODIFY|COMMENT|RENAME) COLUMN `)
	alterStorage = regexp.MustCompile(`^((MODIFY|RESET) SETTING|(MODIFY|REMOVE) TTL|(ADD|DROP) INDEX) `)
)

// statements are those that a cluster needs in the place of one. What it does not know is an error, and does not go to one server alone.
func (l Layout) statements(database, statement, shardedBy string) ([]string, error) {
	on := l.onCluster()
	if !strings.HasSuffix(statement, ";") {
		return nil, errors.New("the statement has an empty line in it, or does not end with a semicolon")
	}
	if m := createTable.FindStringSubmatch(statement); m != nil {
		return l.table(database, m[1], statement, shardedBy)
	}
	if m := createView.FindStringSubmatch(statement); m != nil {
		return []string{strings.Replace(statement, m[2], m[2]+on, 1)}, nil
	}
	if m := drop.FindStringSubmatch(statement); m != nil {
		if m[1] == "VIEW" {
			return []string{"DROP VIEW IF EXISTS " + m[2] + on + ";"}, nil
		}
		return []string{"DROP TABLE IF EXISTS " + m[2] + on + ";", "DROP TABLE IF EXISTS " + m[2] + localSuffix + on + " SYNC;"}, nil
	}
	if m := alterTable.FindStringSubmatch(statement); m != nil {
		return l.alter(m[1], strings.TrimPrefix(statement, m[0]))
	}
	return nil, errors.New("a statement of this form is not known to the cluster's variant")
}

// table makes the replicated table of each shard, and the one over all shards that is read and inserted into.
func (l Layout) table(database, name, statement, shardedBy string) ([]string, error) {
	if shardedBy == "" {
		return nil, errors.New(`the line "-- sharded by: <expression>" is missing before it`)
	}
	if len(engine.FindAllString(statement, -1)) != 1 {
		return nil, errors.New("it needs one line that begins with ENGINE = and a MergeTree")
	}
	local := strings.Replace(statement, name, name+localSuffix+l.onCluster(), 1)
	local = engine.ReplaceAllString(local, "ENGINE = Replicated$1")
	all := fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s%s AS %s%s\nENGINE = Distributed('%s', '%s', '%s%s', %s)",
		name, l.onCluster(), name, localSuffix, l.Cluster, database, name, localSuffix, shardedBy)
	if c := comment.FindString(statement); c != "" {
		return []string{local, all + "\n" + c}, nil
	}
	return []string{local, all + ";"}, nil
}

// alter changes columns in both tables, and how rows are stored in that of the shards alone.
func (l Layout) alter(name, actions string) ([]string, error) {
	columns, storage := 0, 0
	for action := range strings.SplitSeq(actions, ",\n") {
		switch action = strings.TrimSpace(action); {
		case alterColumn.MatchString(action):
			columns++
		case alterStorage.MatchString(action):
			storage++
		default:
			return nil, fmt.Errorf("%q is not known to the cluster's variant", action)
		}
	}
	local := "ALTER TABLE " + l.Storage(name) + "\n    " + actions
	switch {
	case storage == 0:
		return []string{local, "ALTER TABLE " + name + l.onCluster() + "\n    " + actions}, nil
	case columns == 0:
		return []string{local}, nil
	default:
		return nil, errors.New("columns and storage are changed by one statement; write two")
	}
}

func clusterProvider(db *sql.DB, name string, layout Layout) (*goose.Provider, error) {
	store, err := database.NewStore(database.DialectClickHouse, versionsTable)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(database.DialectCustom, db, rendered{files, layout, name}, goose.WithStore(clusterVersions{store, layout, name}))
}

// versionsTable is goose's account of what was applied.
const versionsTable = "goose_db_version"

// clusterVersions keeps the account in one table, with the servers of all shards as its replicas.
type clusterVersions struct {
	database.Store
	layout   Layout
	database string
}

// CreateVersionTable implements database.Store.
func (v clusterVersions) CreateVersionTable(ctx context.Context, db database.DBTxConn) error {
	_, err := db.ExecContext(ctx, v.createTable())
	return err
}

func (v clusterVersions) createTable() string {
	return "CREATE TABLE IF NOT EXISTS " + versionsTable + v.layout.onCluster() + ` (
    version_id Int64,
    is_applied UInt8,
    date Date DEFAULT now(),
    tstamp DateTime DEFAULT now()
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/all/` + v.database + "/" + versionsTable + `', '{shard}-{replica}')
ORDER BY version_id`
}
