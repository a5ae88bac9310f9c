-- What codes, tokens and revocations are remembered in. The name of an entry is
-- one byte and its key, or another byte and the key's SHA-256 where it is long;
-- expires is in milliseconds since 1970.
CREATE TABLE tokenbooth_state (
    name    BLOB    NOT NULL PRIMARY KEY,
    value   BLOB    NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tokenbooth_state_expires ON tokenbooth_state (expires);

-- The document is JSON.
CREATE TABLE tokenbooth_clients (
    id       BLOB NOT NULL PRIMARY KEY,
    document BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokenbooth_migrations (
    version INTEGER NOT NULL PRIMARY KEY,
    applied TEXT    NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;

INSERT INTO tokenbooth_migrations (version) VALUES (1);
