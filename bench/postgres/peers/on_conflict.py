# SPDX-License-Identifier: Apache-2.0
"""INSERT … ON CONFLICT DO UPDATE, a row at a time (arguments: worker.main)."""
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import table
import worker


def connect(url):
    engine = table.connect(url)

    def write(row):
        statement = insert(table.Item).values(k=row["k"], v=row["v"])
        statement = statement.on_conflict_do_update(index_elements=["k"],
                                                    set_={"v": statement.excluded.v})
        with Session(engine) as session:
            session.execute(statement)
            session.commit()

    return write


worker.main(connect, DBAPIError)
