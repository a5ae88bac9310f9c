package sqlstore

import (
	"context"
	"strings"
)

// A dialect is how one engine says what the Store asks for. Its statements take
// their arguments in the order that is written beside them.
type dialect struct {
	name     string // of its folder in Migrations
	prepares bool   // by the pool; the driver does it otherwise

	get    string // name
	swap   func(name, old, val []byte, expires int64) (text string, args []any)
	create func(ctx context.Context, p *pool, name, val []byte, expires int64) (created bool, err error)
	remove string // name
	purge  func(ctx context.Context, p *pool, limit int) (n int64, err error)
	tidy   func(ctx context.Context, p *pool) error // after some purges in passing; may be nil
	// getMany takes names that are not more than mostNames.
	getMany func(names [][]byte) (text string, args []any)

	client       string // id
	clients      string // after, limit
	createClient string // id, document; affects no row where there is one
	changeClient string // document, id, old document
	updateClient string // document, id

	check    func(ctx context.Context, p *pool) error // of a session, at each Migrate; may be nil
	migrated string                                   // whether the table of versions is there
	migrate  func(ctx context.Context, p *pool, apply func(context.Context, session) error) error
}

// Everything that a Create finds under its name is decided by the one statement:
// it inserts, or keeps the same value for longer, or affects nothing.
const upsert = `INSERT INTO tokenbooth_state (name, value, expires) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET expires = CASE WHEN excluded.expires > tokenbooth_state.expires THEN excluded.expires ELSE tokenbooth_state.expires END
WHERE tokenbooth_state.value = excluded.value`

const swapNumbered = `UPDATE tokenbooth_state
SET value = $1, expires = CASE WHEN value = $1 AND expires > $2 THEN expires ELSE $2 END
WHERE name = $3 AND value IN ($1, $4)`

var postgres = dialect{
	name: "postgres",
	get:  `SELECT value FROM tokenbooth_state WHERE name = $1`,
	swap: func(name, old, val []byte, expires int64) (string, []any) {
		return swapNumbered, []any{val, expires, name, old}
	},
	create: createByUpsert,
	remove: `DELETE FROM tokenbooth_state WHERE name = $1`,
	purge: func(ctx context.Context, p *pool, limit int) (int64, error) {
		return affected(p.exec(ctx, postgresPurge, limit))
	},
	getMany: func(names [][]byte) (string, []any) {
		return `SELECT name, value FROM tokenbooth_state WHERE name = ANY($1)`, []any{names}
	},

	client:       `SELECT document FROM tokenbooth_clients WHERE id = $1`,
	clients:      `SELECT id, document FROM tokenbooth_clients WHERE id > $1 ORDER BY id LIMIT $2`,
	createClient: `INSERT INTO tokenbooth_clients (id, document) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`,
	changeClient: `UPDATE tokenbooth_clients SET document = $1 WHERE id = $2 AND document = $3`,
	updateClient: `UPDATE tokenbooth_clients SET document = $1 WHERE id = $2`,

	check: checkPostgres,
	// (to_regclass answers from what the session remembers, which waiting for
	// the lock does not refresh.)
	migrated: `SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'tokenbooth_migrations' AND pg_catalog.pg_table_is_visible(oid)`,
	migrate:  migratePostgres,
}

// postgresPurge looks at each row again once it holds its lock, and leaves those
// that others hold. ARRAY makes the engine run the inner query exactly once.
const postgresPurge = `DELETE FROM tokenbooth_state WHERE name = ANY(ARRAY(
SELECT name FROM tokenbooth_state WHERE expires <= floor(extract(epoch FROM now()))::bigint * 1000
ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED))`

var sqliteDialect = dialect{
	name:     "sqlite",
	prepares: true,
	get:      `SELECT value FROM tokenbooth_state WHERE name = ?`,
	swap:     postgres.swap,
	create:   createByUpsert,
	remove:   `DELETE FROM tokenbooth_state WHERE name = ?`,
	purge: func(ctx context.Context, p *pool, limit int) (int64, error) {
		return affected(p.exec(ctx, `DELETE FROM tokenbooth_state WHERE name IN
(SELECT name FROM tokenbooth_state WHERE expires <= unixepoch() * 1000 ORDER BY expires LIMIT ?)`, limit))
	},
	tidy:    emptyWAL,
	getMany: getManyOf,

	client:       `SELECT document FROM tokenbooth_clients WHERE id = ?`,
	clients:      `SELECT id, document FROM tokenbooth_clients WHERE id > ? ORDER BY id LIMIT ?`,
	createClient: `INSERT INTO tokenbooth_clients (id, document) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`,
	changeClient: `UPDATE tokenbooth_clients SET document = ? WHERE id = ? AND document = ?`,
	updateClient: `UPDATE tokenbooth_clients SET document = ? WHERE id = ?`,

	migrated: `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'tokenbooth_migrations'`,
	migrate:  migrateSQLite,
}

var mysqlDialect = dialect{
	name:     "mysql",
	prepares: true,
	get:      `SELECT value FROM tokenbooth_state WHERE name = ?`,
	// The engine assigns from left to right: expires comes while value is the
	// old one yet.
	swap: func(name, old, val []byte, expires int64) (string, []any) {
		return `UPDATE tokenbooth_state
SET expires = IF(value = ?, GREATEST(expires, ?), ?), value = ?, revision = revision + 1
WHERE name = ? AND value IN (?, ?)`, []any{val, expires, expires, val, name, old, val}
	},
	create:  createByDuplicate,
	remove:  `DELETE FROM tokenbooth_state WHERE name = ?`,
	purge:   purgeInTwo,
	getMany: getManyOf,

	client:       `SELECT document FROM tokenbooth_clients WHERE id = ?`,
	clients:      `SELECT id, document FROM tokenbooth_clients WHERE id > ? ORDER BY id LIMIT ?`,
	createClient: `INSERT INTO tokenbooth_clients (id, document) VALUES (?, ?)`,
	changeClient: `UPDATE tokenbooth_clients SET document = ?, revision = revision + 1 WHERE id = ? AND document = ?`,
	updateClient: `UPDATE tokenbooth_clients SET document = ?, revision = revision + 1 WHERE id = ?`,

	check:    checkMySQL,
	migrated: `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'tokenbooth_migrations'`,
	migrate:  migrateMySQL,
}

func createByUpsert(ctx context.Context, p *pool, name, val []byte, expires int64) (bool, error) {
	n, err := affected(p.exec(ctx, upsert, name, val, expires))
	return n > 0, err
}

// createByDuplicate tells what happened by the last insert id, which the
// statement sets only where it found something, since how this engine counts
// rows depends on the connection.
func createByDuplicate(ctx context.Context, p *pool, name, val []byte, expires int64) (bool, error) {
	const another = 2
	res, err := p.exec(ctx, `INSERT INTO tokenbooth_state (name, value, expires) VALUES (?, ?, ?)
ON DUPLICATE KEY UPDATE expires = IF(value = ?, GREATEST(expires, ?), expires),
revision = revision + LAST_INSERT_ID(IF(value = ?, 1, 2))`, name, val, expires, val, expires, val)
	if err != nil {
		return false, err
	}
	found, err := res.LastInsertId()
	return found != another, err
}

// purgeInTwo reads without locks, then deletes by the primary key: a range that
// is deleted would be locked as a whole, against every Create.
func purgeInTwo(ctx context.Context, p *pool, limit int) (int64, error) {
	names, err := column(p.query(ctx, `SELECT name FROM tokenbooth_state
WHERE expires <= UNIX_TIMESTAMP() * 1000 ORDER BY expires LIMIT ?`, limit))
	if err != nil || len(names) == 0 {
		return 0, err
	}
	list, args := nameList(names)
	return affected(p.exec(ctx, `DELETE FROM tokenbooth_state WHERE name IN `+list+` AND expires <= UNIX_TIMESTAMP() * 1000`, args...))
}

func getManyOf(names [][]byte) (string, []any) {
	list, args := nameList(names)
	return `SELECT name, value FROM tokenbooth_state WHERE name IN ` + list, args
}

// nameList repeats the last name until there are as many as a power of two, so
// that there are few statements to prepare.
func nameList(names [][]byte) (list string, args []any) {
	n := 1
	for n < len(names) {
		n *= 2
	}
	for i := range n {
		args = append(args, names[min(i, len(names)-1)])
	}
	return "(?" + strings.Repeat(", ?", n-1) + ")", args
}
