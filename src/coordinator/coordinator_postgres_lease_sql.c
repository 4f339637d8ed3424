/* SPDX-License-Identifier: Apache-2.0
 *
 * The statements of leases. Each follows or_remote_lock_sql in its transaction, and so sees all
 * that was done to its name, and nobody else does anything to it until the commit: what it looks at
 * first and what it changes are one state. See the top of coordinator_postgres_lease.c.
 *
 * Short forms are for what is asked most: to have a lease and to let it go when nobody else is
 * about, and to wait. What they do not know how to do they leave undone, and have no row.
 */
#include "coordinator/coordinator_postgres_lease.h"

#define BLOCK "999" /* tokens that are reserved beyond the one that is given */
#define LAST  "9223372036854775807"

/* Above all that was given: in another life of the server the last ones may have been forgotten,
 * but none was above the ceiling. */
#define NEXT(LIFE, FLOOR)                                                                          \
    "greatest(CASE WHEN l.life = " LIFE " THEN l.token ELSE l.ceiling END, " FLOOR ") + 1"
#define NEXT_FREE NEXT("excluded.life", "$8")
#define NEXT_ANY  NEXT("life.id", "$8")
#define NEXT_PASS NEXT("life.id", "f.floor")

/* The transaction need not be on the disk when it is acknowledged. */
#define LAZY "set_config('synchronous_commit', 'off', true)"

/* What the holder has left, and how many wait. */
#define MS_LEFT "ceil(date_part('epoch', expires - clock_timestamp()) * 1000)::bigint"
#define HOLDER_LEFT                                                                                \
    "coalesce((SELECT greatest(" MS_LEFT ", 0) FROM onerow.lease WHERE name = $1 AND nonce IS "    \
    "NOT NULL), 0)"
#define WAITERS                                                                                    \
    "(SELECT count(*) FROM onerow.lease_wait WHERE name = $1 AND until > clock_timestamp())"

const char or_remote_lock_sql[] = "SELECT pg_advisory_xact_lock($1)";

const char or_remote_life_sql[] =
    "INSERT INTO onerow.lease_life(id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING";

/* ---- acquire -----------------------------------------------------------------------------------
 *
 * $1 name, $2 nonce, $3 who, $4 wake, $5 hears, $6 ttl, $7 patience, $8 floor, $9 queue
 */

#define TTL      "$6 * interval '1 ms'"
#define PATIENCE "$7 * interval '1 ms'"

const char or_remote_free_sql[] =
    "INSERT INTO onerow.lease AS l(name, token, ceiling, life, nonce, who, since, expires) "
    "SELECT $1, $8 + 1, $8 + 1 + " BLOCK ", life.id, $2, $3, c.now, c.now + " TTL " "
    "FROM onerow.lease_life life, (SELECT clock_timestamp() AS now) c "
    "WHERE NOT EXISTS (SELECT FROM onerow.lease_wait WHERE name = $1) "
    "AND NOT EXISTS (SELECT FROM onerow.lease WHERE name = $1 AND nonce IS NOT NULL "
    "AND expires > clock_timestamp()) "
    "ON CONFLICT (name) DO UPDATE SET token = " NEXT_FREE ", "
    "ceiling = CASE WHEN " NEXT_FREE " > l.ceiling THEN " NEXT_FREE " + " BLOCK " "
    "ELSE l.ceiling END, life = excluded.life, nonce = excluded.nonce, who = excluded.who, "
    "since = clock_timestamp(), expires = clock_timestamp() + " TTL " "
    "WHERE l.nonce IS NULL OR l.expires <= clock_timestamp() RETURNING l.token";

#define LINE_UP                                                                                    \
    "INSERT INTO onerow.lease_wait AS w(name, nonce, who, wake, hears, ttl, patience, floor, "     \
    "until) SELECT $1, $2, $3, $4, $5 = 1, $6, $7, $8, clock_timestamp() + " PATIENCE " FROM "
#define OR_STAY                                                                                    \
    "ON CONFLICT (name, nonce) DO UPDATE SET who = excluded.who, wake = excluded.wake, hears = "   \
    "excluded.hears, ttl = excluded.ttl, patience = excluded.patience, floor = excluded.floor, "   \
    "until = excluded.until RETURNING "

const char or_remote_line_sql[] =
    LINE_UP "onerow.lease l WHERE l.name = $1 AND l.nonce <> $2 AND l.expires > clock_timestamp() "
            "AND $9 = 1 " OR_STAY "(SELECT count(*) FROM onerow.lease_wait o WHERE o.name = $1 "
            "AND o.seq < w.seq AND o.until > clock_timestamp()), " HOLDER_LEFT ", " LAZY;

/* keeps: it runs, and its token is good. gone: whoever is before the one who gets it anew is dead.
 */
const char or_remote_acquire_sql[] =
    "WITH c AS MATERIALIZED (SELECT clock_timestamp() AS now), "
    "own AS MATERIALIZED (SELECT seq FROM onerow.lease_wait WHERE name = $1 AND nonce = $2), "
    "line AS MATERIALIZED (SELECT count(*) AS waiters, "
    "count(*) FILTER (WHERE w.seq < coalesce((SELECT seq FROM own), " LAST ")) AS ahead "
    "FROM onerow.lease_wait w, c WHERE w.name = $1 AND w.nonce <> $2 AND w.until > c.now), "
    "see AS MATERIALIZED (SELECT c.now, line.*, l.token, l.ceiling, l.life, l.since, "
    "coalesce(l.expires > c.now AND l.nonce = $2, false) AS mine, "
    "coalesce(l.expires > c.now AND l.nonce = $2 AND l.token > $8, false) AS keeps, "
    "coalesce(l.expires <= c.now OR l.nonce IS NULL, true) AND line.ahead = 0 AS free, "
    "life.id AS now_life, " NEXT_ANY " AS next FROM c CROSS JOIN line "
    "LEFT JOIN onerow.lease l ON l.name = $1 LEFT JOIN onerow.lease_life life ON true), "
    "say AS MATERIALIZED (SELECT s.*, "
    "s.keeps OR s.now_life IS NOT NULL AND (s.mine OR s.free) AS granted, "
    "CASE WHEN s.keeps THEN s.token ELSE s.next END AS given FROM see s), "
    "hand AS (INSERT INTO onerow.lease AS l"
    "(name, token, ceiling, life, nonce, who, since, expires) SELECT $1, s.given, "
    "CASE WHEN s.given > coalesce(s.ceiling, 0) THEN s.given + " BLOCK " ELSE s.ceiling END, "
    "CASE WHEN s.keeps THEN s.life ELSE s.now_life END, $2, $3, "
    "CASE WHEN s.keeps THEN s.since ELSE s.now END, s.now + " TTL " FROM say s WHERE s.granted "
    "ON CONFLICT (name) DO UPDATE SET token = excluded.token, ceiling = excluded.ceiling, "
    "life = excluded.life, nonce = excluded.nonce, who = excluded.who, since = excluded.since, "
    "expires = clock_timestamp() + " TTL " "
    "WHERE l.nonce IS NULL OR l.nonce = $2 OR l.expires <= clock_timestamp() RETURNING 1), "
    "gone AS (DELETE FROM onerow.lease_wait w USING say s LEFT JOIN own ON true "
    "WHERE w.name = $1 AND w.seq <= coalesce(own.seq, " LAST ") AND (s.granted AND NOT s.mine "
    "OR w.seq = own.seq AND (s.granted OR $9 = 0))), "
    "wait AS (" LINE_UP "say s WHERE NOT s.granted AND $9 = 1 " OR_STAY "1) "
    "SELECT s.granted, s.given, " HOLDER_LEFT ", s.ahead, s.waiters, "
    "(s.mine OR s.free) AND NOT s.granted, (SELECT count(*) FROM hand), "
    "CASE WHEN NOT s.granted THEN " LAZY " END FROM say s";

/* ---- renew -------------------------------------------------------------------------------------
 *
 * $1 name, $2 nonce, $3 token, $4 ttl
 */

const char or_remote_renew_sql[] =
    "UPDATE onerow.lease SET expires = clock_timestamp() + $4 * interval '1 ms' "
    "WHERE name = $1 AND nonce = $2 AND token = $3 AND expires > clock_timestamp() "
    "RETURNING token";

/* ---- release, cancel, force --------------------------------------------------------------------
 *
 * $1 name, $2 nonce, $3 token, $4 host, $5 by
 *
 * first is the first live waiter. Whoever is before it is dead; and if there is none, all are. A
 * waiter of another machine is told in the same transaction, if it listens; nobody else is. The
 * commit has to last when the ceiling was raised in it: then it is as far above the token as it
 * ever is.
 */

#define OWN_TOKEN "l.nonce = $2 AND l.token = $3 "
#define OWN       "l.nonce = $2 "
#define ANYBODYS  "l.nonce IS NOT NULL AND l.expires > clock_timestamp() "

#define PASS_FIRST                                                                                 \
    "WITH first AS MATERIALIZED (SELECT w.*, w.hears AND left(w.wake, 16) <> $4 AS far, "          \
    "least(w.ttl, w.patience) AS granted FROM onerow.lease_wait w WHERE w.name = $1 "              \
    "AND w.until > clock_timestamp() "                                                             \
    "AND EXISTS (SELECT FROM onerow.lease l WHERE l.name = $1 AND "
#define PASS_HAND                                                                                  \
    ") ORDER BY w.seq LIMIT 1), "                                                                  \
    "hand AS (UPDATE onerow.lease l SET nonce = f.nonce, who = coalesce(f.who, l.who), "           \
    "token = CASE WHEN f.seq IS NULL THEN l.token ELSE " NEXT_PASS " END, "                        \
    "ceiling = CASE WHEN f.seq IS NOT NULL AND " NEXT_PASS " > l.ceiling "                         \
    "THEN " NEXT_PASS " + " BLOCK " ELSE l.ceiling END, "                                          \
    "life = CASE WHEN f.seq IS NULL THEN l.life ELSE life.id END, "                                \
    "since = CASE WHEN f.seq IS NULL THEN l.since ELSE clock_timestamp() END, "                    \
    "expires = clock_timestamp() + coalesce(f.granted, 0) * interval '1 ms' "                      \
    "FROM (SELECT) one LEFT JOIN first f ON true LEFT JOIN onerow.lease_life life ON true "        \
    "WHERE l.name = $1 AND (f.seq IS NULL OR life.id IS NOT NULL) AND "
#define PASS_SAY                                                                                   \
    "RETURNING l.token, l.ceiling, f.seq, f.nonce, f.wake, f.granted, f.far), "                    \
    "gone AS (DELETE FROM onerow.lease_wait w USING hand h "                                       \
    "WHERE w.name = $1 AND w.seq <= coalesce(h.seq, " LAST ")) "                                   \
    "SELECT h.nonce, h.wake, h.token, h.granted, CASE WHEN h.far THEN "                            \
    "pg_notify('onerow_' || right(h.wake, 32), encode(h.nonce, 'hex')) END"
#define PASS_LAZY ", CASE WHEN h.seq IS NULL OR h.ceiling - h.token < " BLOCK " THEN " LAZY " END"

const char or_remote_let_go_sql[] =
    "UPDATE onerow.lease l SET nonce = NULL, expires = clock_timestamp() WHERE l.name = $1 "
    "AND NOT EXISTS (SELECT FROM onerow.lease_wait WHERE name = $1) AND " OWN_TOKEN
    "RETURNING " LAZY;
const char or_remote_release_sql[] =
    PASS_FIRST OWN_TOKEN PASS_HAND OWN_TOKEN PASS_SAY PASS_LAZY " FROM hand h";
const char or_remote_cancel_sql[] = PASS_FIRST OWN PASS_HAND OWN PASS_SAY PASS_LAZY " FROM hand h";
const char or_remote_force_sql[] = PASS_FIRST ANYBODYS PASS_HAND ANYBODYS PASS_SAY " FROM hand h";

const char or_remote_leave_sql[] = "DELETE FROM onerow.lease_wait WHERE name = $1 AND nonce = $2";

const char or_remote_note_sql[] =
    "INSERT INTO onerow.lease_forced(name, who, by_whom, token, at) "
    "SELECT l.name, l.who, $5, l.token, clock_timestamp() "
    "FROM onerow.lease l, onerow.lease_life WHERE l.name = $1 AND " ANYBODYS
    "RETURNING who, token, (date_part('epoch', at) * 1000)::bigint";

/* $1 name */
const char or_remote_look_sql[] =
    "SELECT " HOLDER_LEFT ", " WAITERS ", EXISTS (SELECT FROM onerow.lease_life)";

/* ---- lists -------------------------------------------------------------------------------------
 */

/* $1 where the prefix begins, $2 where it ends, $3 past, $4 free ones too */
const char or_remote_list_sql[] =
    "SELECT * FROM (SELECT l.name, l.who, "
    "l.nonce IS NOT NULL AND l.expires > clock_timestamp() AS held, l.token, "
    "(date_part('epoch', l.since) * 1000)::bigint, " MS_LEFT ", (SELECT count(*) "
    "FROM onerow.lease_wait w WHERE w.name = l.name AND w.until > clock_timestamp()) AS waiters "
    "FROM onerow.lease l WHERE l.name >= $1 AND l.name < $2 AND l.name > $3) s "
    "WHERE $4 = 1 OR s.held OR s.waiters > 0 ORDER BY s.name LIMIT 256";

/* $1 and $2 likewise, $3 before */
const char or_remote_trail_sql[] =
    "SELECT id, name, who, by_whom, token, (date_part('epoch', at) * 1000)::bigint "
    "FROM onerow.lease_forced WHERE name >= $1 AND name < $2 AND id < $3 "
    "ORDER BY id DESC LIMIT 256";
