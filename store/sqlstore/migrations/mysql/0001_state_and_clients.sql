-- What codes, tokens and revocations are remembered in. The name of an entry is
-- one byte and its key, or another byte and the key's SHA-256 where it is long;
-- expires is in milliseconds since 1970; revision changes with each update, for
-- the server counts rows that an update finds but leaves as they were only when
-- the client asks for it. A statement of this file does no harm when it is
-- repeated, since none can be taken back.
CREATE TABLE IF NOT EXISTS tokenbooth_state (
    name     VARBINARY(256) NOT NULL PRIMARY KEY,
    value    MEDIUMBLOB     NOT NULL,
    expires  BIGINT         NOT NULL,
    revision BIGINT         NOT NULL DEFAULT 0,
    INDEX tokenbooth_state_expires (expires)
) ENGINE = InnoDB;

-- The document is JSON.
CREATE TABLE IF NOT EXISTS tokenbooth_clients (
    id       VARBINARY(256) NOT NULL PRIMARY KEY,
    document MEDIUMBLOB     NOT NULL,
    revision BIGINT         NOT NULL DEFAULT 0
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS tokenbooth_migrations (
    version INTEGER   NOT NULL PRIMARY KEY,
    applied TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB;

INSERT IGNORE INTO tokenbooth_migrations (version) VALUES (1);
