-- Schema 1 of an mqbench results store (docs/store.md). Never change a statement: stores are compared with
-- this text when they are opened. What later versions add is in the steps of schema.c.

CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,          -- SHA-256 of cell, inputs and revisions
  float_identity TEXT,             -- identity of the same model and data evaluated in float
  cell TEXT NOT NULL,              -- canonical text
  plan TEXT,
  model TEXT NOT NULL,
  target TEXT,
  method TEXT NOT NULL,
  variant TEXT,
  options TEXT,                    -- what differs from the defaults and has no column of its own
  w_bits INTEGER,
  a_bits INTEGER,
  w_observer TEXT,
  a_observer TEXT,
  seed INTEGER NOT NULL,
  model_sha256 TEXT,
  data_sha256 TEXT,
  eval_sha256 TEXT,
  target_sha256 TEXT,
  status TEXT NOT NULL CHECK (status IN ('done', 'failed', 'nc', 'stale')),
  message TEXT,
  float_top1 REAL,
  float_correct INTEGER,
  top1 REAL,
  top5 REAL,
  loss REAL,
  correct INTEGER,
  images INTEGER,
  is_correct BLOB,                 -- bit i % 8 of byte i / 8: image i was classified correctly
  seconds REAL,
  calib_seconds REAL,
  eval_seconds REAL,
  version TEXT,
  cpu TEXT,
  isa TEXT,
  onednn TEXT,
  started TEXT                     -- ISO 8601, UTC
) STRICT;

CREATE UNIQUE INDEX runs_identity ON runs (identity) WHERE status <> 'stale';
CREATE INDEX runs_cell ON runs (cell);
CREATE INDEX runs_float ON runs (float_identity);

CREATE TABLE points (
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,       -- order in the graph
  tensor TEXT NOT NULL,
  kind TEXT NOT NULL,              -- weight, activation, bias
  bits INTEGER NOT NULL,
  lo REAL,                         -- clipping range; per channel: least and largest
  hi REAL,
  n_channels INTEGER NOT NULL,
  scale BLOB NOT NULL,             -- n_channels float32, little endian
  zero_point BLOB NOT NULL,        -- n_channels int32, little endian
  PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE artefacts (
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL,            -- the file is objects/<sha256> beside the store
  bytes INTEGER NOT NULL,
  PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
  identity TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  process_start TEXT NOT NULL,     -- boot and clock tick at which the process began: pids come again
  renewed INTEGER NOT NULL         -- Unix seconds
) STRICT, WITHOUT ROWID;

-- What other programs may rely on.
CREATE VIEW run AS
  SELECT id, model, target, method, variant, w_bits, a_bits, w_observer, a_observer, seed, status, top1,
         correct, images, seconds
  FROM runs;
