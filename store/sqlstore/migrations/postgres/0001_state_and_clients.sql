-- What codes, tokens and revocations are remembered in. The name of an entry is
-- one byte and its key, or another byte and the key's SHA-256 where it is long;
-- expires is in milliseconds since 1970.
CREATE TABLE tokenbooth_state (
    name    bytea  NOT NULL PRIMARY KEY,
    value   bytea  NOT NULL,
    expires bigint NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX tokenbooth_state_expires ON tokenbooth_state (expires);

-- The document is JSON: convert_from(document, 'UTF8').
CREATE TABLE tokenbooth_clients (
    id       bytea NOT NULL PRIMARY KEY,
    document bytea NOT NULL
);

CREATE TABLE tokenbooth_migrations (
    version integer     NOT NULL PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

INSERT INTO tokenbooth_migrations (version) VALUES (1);
