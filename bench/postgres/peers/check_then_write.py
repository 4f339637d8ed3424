# SPDX-License-Identifier: Apache-2.0
"""Look whether the row is there; change it, or insert it (arguments: worker.main)."""
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import table
import worker


def connect(url):
    engine = table.connect(url)

    def write(row):
        with Session(engine) as session:
            item = session.get(table.Item, row["k"])
            if item is None:
                session.add(table.Item(k=row["k"], v=row["v"]))
            else:
                item.v = row["v"]
            session.commit()

    return write


worker.main(connect, DBAPIError)
