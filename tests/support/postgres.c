/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/postgres.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/text.h"

/* ---- programs ------------------------------------------------------------------------------- */

/* A child with pipes for its standard input (when wanted) and output. */
struct program {
    pid_t pid;
    int in; /* -1: none */
    int out;
};

static struct program start(const char *const *words, bool with_input)
{
    int in[2] = {-1, -1};
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(with_input ? pipe2(in, O_CLOEXEC) : 0, 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(with_input ? in[0] : open("/dev/null", O_RDONLY), STDIN_FILENO);
        execvp(words[0], (char *const *)(uintptr_t)words);
        _exit(127);
    }
    close(out[1]);
    if (with_input) {
        close(in[0]);
    }
    return (struct program){.pid = pid, .in = in[1], .out = out[0]};
}

static const char *read_all(struct bench *b, int from)
{
    struct or_buffer all;
    char block[4096];
    or_buffer_init(&all);
    for (ssize_t got = 0; (got = read(from, block, sizeof block)) > 0;) {
        or_buffer_add(&all, block, (size_t)got);
    }
    struct onerow_span trimmed = or_span_trim(or_buffer_view(&all));
    const char *kept = text(b, "%.*s", (int)trimmed.len, trimmed.data);
    or_buffer_finish(&all);
    return kept;
}

/* ---- the server -------------------------------------------------------------------------------
 */

static struct {
    pid_t owner; /* the process that started it; 0: nobody did */
    struct program program;
    char url[128];
    unsigned databases;
} server;

/* The end of its input stops it; waiting for it makes sure that nothing is left behind. */
static void stop_server(void)
{
    if (server.owner == getpid()) {
        close(server.program.in);
        waitpid(server.program.pid, NULL, 0);
    }
}

const char *pg_server_url(void)
{
    if (server.owner) {
        return server.url;
    }
    const char *root = getenv("ONEROW_SOURCE_ROOT");
    char *script = NULL;
    assert_true(asprintf(&script, "%s/tests/e2e/postgres.py", root ? root : ".") > 0);
    const char *const words[] = {"/usr/bin/python3", script, "--serve", NULL};
    server.program = start(words, true);
    size_t len = 0;
    while (len + 1 < sizeof server.url && !memchr(server.url, '\n', len)) {
        ssize_t got = read(server.program.out, server.url + len, sizeof server.url - 1 - len);
        if (got <= 0) {
            fail_msg("%s --serve did not start a server; what it says stands above", script);
        }
        len += (size_t)got;
    }
    server.url[strcspn(server.url, "\n")] = '\0';
    free(script);
    server.owner = getpid();
    atexit(stop_server);
    return server.url;
}

/* ---- databases --------------------------------------------------------------------------------
 */

const char *pg_sql(struct bench *b, const char *url, const char *statement)
{
    const char *const words[] = {"psql", "-X", "-q", "-A",      "-t", "-v", "ON_ERROR_STOP=1",
                                 "-d",   url,  "-c", statement, NULL};
    struct program psql = start(words, false);
    const char *said = read_all(b, psql.out);
    close(psql.out);
    int code = child_code(psql.pid);
    if (code == 127) {
        fail_msg("psql is missing; run: apt-get install postgresql-client");
    } else if (code != 0) {
        fail_msg("psql \"%s\": exit %d; what it says stands above", statement, code);
    }
    return said;
}

/* Databases of benches whose folder is gone. */
static struct {
    char *folder;
    char name[32];
} made[64];

static void drop_old(struct bench *b)
{
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (made[i].folder && access(made[i].folder, F_OK) != 0) {
            pg_sql(b, server.url, text(b, "DROP DATABASE IF EXISTS %s WITH (FORCE)", made[i].name));
            free(made[i].folder);
            made[i].folder = NULL;
        }
    }
}

const char *pg_database(struct bench *b)
{
    const char *url = pg_server_url();
    drop_old(b);
    char name[32];
    snprintf(name, sizeof name, "bench_%d_%u", getpid(), ++server.databases);
    pg_sql(b, url, text(b, "CREATE DATABASE %s", name));
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (!made[i].folder) {
            made[i].folder = strdup(b->folder);
            memcpy(made[i].name, name, sizeof name);
            break;
        }
    }
    return text(b, "%.*s/%s", (int)(strrchr(url, '/') - url), url, name);
}
