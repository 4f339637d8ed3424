/* SPDX-License-Identifier: Apache-2.0
 *
 * URLs of PostgreSQL databases, as stores and coordinators take them.
 */
#ifndef OR_POSTGRES_URL_H
#define OR_POSTGRES_URL_H

#include "onerow/onerow.h"

/* libpq's conninfo from a URL, in *conninfo (the caller's, free), and what may be shown of it in
 * *shown (likewise). Understands postgres:, postgresql: and SQLAlchemy's postgresql+driver:; a
 * query parameter that libpq does not know is refused by name. */
ONEROW_CHECKED enum onerow_status or_postgres_url(const char *url, char **conninfo, char **shown,
                                                  struct onerow_error *error);

#endif
