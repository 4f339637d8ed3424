# SPDX-License-Identifier: Apache-2.0
"""The bulk peers as scripts for psql: COPY into a staging table, then one statement, all in one
transaction. Neither folds equal keys nor tells outcomes."""

ON_CONFLICT = """INSERT INTO items (k, v) SELECT k, v FROM staging
  ON CONFLICT (k) DO UPDATE SET v = excluded.v;"""
MERGE = """MERGE INTO items t USING staging s ON t.k = s.k
  WHEN MATCHED THEN UPDATE SET v = s.v
  WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, s.v);"""


def script(path, statement, unlogged):
    return f"""BEGIN;
CREATE {"UNLOGGED " if unlogged else ""}TABLE staging (k text, v jsonb);
\\copy staging from '{path}'
{statement}
DROP TABLE staging;
COMMIT;
"""
