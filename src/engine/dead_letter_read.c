/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading dead letters. It takes no lock: a file may be written or settled at the
 * same time, and what is seen then is what it held at some moment in between.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "engine/dead_letter_internal.h"

/* ---- the files of a folder ------------------------------------------------------- */

static bool is_letter_file(const char *name)
{
    size_t len = strlen(name);
    size_t ending = strlen(OR_LETTER_ENDING);
    return name[0] != '.' && len > ending && strcmp(name + len - ending, OR_LETTER_ENDING) == 0;
}

static bool add_name(struct or_letter_names *names, const char *name)
{
    if (names->n == names->room) {
        size_t room = names->room ? 2 * names->room : 64;
        char **more = reallocarray(names->names, room, sizeof *more);
        if (!more) {
            return false;
        }
        names->names = more;
        names->room = room;
    }
    char *copy = strdup(name);
    names->names[names->n] = copy;
    names->n += copy != NULL;
    return copy != NULL;
}

/* Names begin with their time in UTC. */
static int older_first(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int collect(DIR *dir, struct or_letter_names *names)
{
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(dir))) {
        if (is_letter_file(entry->d_name) && !add_name(names, entry->d_name)) {
            return ENOMEM;
        }
    }
    return errno;
}

enum onerow_status or_letter_names_read(const char *folder, struct or_letter_names *names,
                                        struct onerow_error *error)
{
    *names = (struct or_letter_names){0};
    DIR *dir = opendir(folder);
    if (!dir) {
        return errno == ENOENT ? ONEROW_OK : or_letter_errno(error, errno, "list", folder);
    }
    int number = collect(dir, names);
    closedir(dir);
    if (number) {
        or_letter_names_finish(names);
        return or_letter_errno(error, number, "list", folder);
    }
    if (names->n) {
        qsort(names->names, names->n, sizeof *names->names, older_first);
    }
    return ONEROW_OK;
}

void or_letter_names_finish(struct or_letter_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        free(names->names[i]);
    }
    free(names->names);
    *names = (struct or_letter_names){0};
}

/* ---- the lines of a file ---------------------------------------------------------- */

enum onerow_status or_letter_reader_init(struct or_letter_reader *reader, int fd, const char *path,
                                         struct onerow_error *error)
{
    *reader = (struct or_letter_reader){.path = path};
    or_arena_init(&reader->arena);
    reader->stream = fdopen(fd, "r");
    if (!reader->stream) {
        int number = errno;
        close(fd);
        return or_letter_errno(error, number, "read", path);
    }
    return ONEROW_OK;
}

void or_letter_reader_finish(struct or_letter_reader *reader)
{
    if (reader->stream) {
        fclose(reader->stream);
    }
    free(reader->line);
    or_arena_finish(&reader->arena);
}

enum onerow_status or_letter_reader_next(struct or_letter_reader *reader,
                                         struct onerow_error *error)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Stream): or_letter_reader_finish closes it */
    ssize_t got = getline(&reader->line, &reader->room, reader->stream);
    reader->from = reader->to;
    if (got < 0) {
        reader->kind = OR_LINE_END;
        bool over = feof(reader->stream) && !ferror(reader->stream);
        return over ? ONEROW_OK : or_letter_errno(error, errno, "read", reader->path);
    }
    reader->to += got;
    bool ended = reader->line[got - 1] == '\n';
    struct onerow_span line = {reader->line, (size_t)got - ended};
    or_arena_reset(&reader->arena);
    if (line.len && line.data[0] == OR_LETTER_CROSS) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): or_letter_reader_finish frees the line */
        reader->kind = OR_LINE_CROSSED;
        return ONEROW_OK;
    }
    switch (or_letter_parse(line, &reader->arena, &reader->letter)) {
    case ONEROW_OK: reader->kind = OR_LINE_LETTER; return ONEROW_OK;
    case ONEROW_NOMEM: return or_letter_errno(error, ENOMEM, "read", reader->path);
    default: reader->kind = ended ? OR_LINE_DAMAGED : OR_LINE_TORN; return ONEROW_OK;
    }
}

/* ---- the walk ---------------------------------------------------------------------- */

struct walk {
    or_letter_visit *visit;
    void *context;
    size_t torn;
    bool stopped;
};

/* -1 with errno 0: there is no such file any more, or it is none of ours. */
static int open_file(const char *path)
{
    struct stat file;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        errno = errno == ENOENT || errno == ELOOP ? 0 : errno;
        return -1;
    }
    if (fstat(fd, &file) || !S_ISREG(file.st_mode)) {
        close(fd);
        errno = 0;
        return -1;
    }
    return fd;
}

/* A run that is just writing its last line has not torn it. The lock is asked for a moment only;
 * who wants it in that moment looks again (the box) or comes again (settling). */
static bool is_being_written(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB)) {
        return errno == EWOULDBLOCK;
    }
    flock(fd, LOCK_UN);
    return false;
}

static void take_line(struct walk *walk, struct or_letter_reader *reader)
{
    switch (reader->kind) {
    case OR_LINE_LETTER: walk->stopped = !walk->visit(walk->context, &reader->letter); break;
    case OR_LINE_DAMAGED: walk->torn++; break;
    case OR_LINE_TORN: walk->torn += !is_being_written(fileno(reader->stream)); break;
    case OR_LINE_CROSSED:
    case OR_LINE_END: break;
    }
}

static enum onerow_status read_file(struct walk *walk, const char *path, struct onerow_error *error)
{
    int fd = open_file(path);
    if (fd < 0) {
        return errno ? or_letter_errno(error, errno, "read", path) : ONEROW_OK;
    }
    struct or_letter_reader reader;
    enum onerow_status status = or_letter_reader_init(&reader, fd, path, error);
    while (!status && !walk->stopped && reader.kind != OR_LINE_END) {
        status = or_letter_reader_next(&reader, error);
        if (!status) {
            take_line(walk, &reader);
        }
    }
    or_letter_reader_finish(&reader);
    return status;
}

/* A file that cannot be read does not hide the others; the first failure is reported. */
static enum onerow_status read_all(struct walk *walk, const char *folder,
                                   const struct or_letter_names *names, struct onerow_error *error)
{
    enum onerow_status status = ONEROW_OK;
    for (size_t i = 0; i < names->n && !walk->stopped; i++) {
        char *path = or_letter_path(folder, names->names[i]);
        struct onerow_error *first = status ? NULL : error;
        enum onerow_status one =
            path ? read_file(walk, path, first) : or_letter_errno(first, ENOMEM, "read", folder);
        status = status ? status : one;
        free(path);
    }
    return status;
}

enum onerow_status or_letters_read(const char *folder, or_letter_visit *visit, void *context,
                                   size_t *torn, struct onerow_error *error)
{
    struct walk walk = {.visit = visit, .context = context};
    struct or_letter_names names = {0};
    char *path;
    enum onerow_status status = or_letter_folder(folder, &path, error);
    if (!status) {
        status = or_letter_names_read(path, &names, error);
    }
    if (!status) {
        status = read_all(&walk, path, &names, error);
    }
    or_letter_names_finish(&names);
    free(path);
    if (torn) {
        *torn = walk.torn;
    }
    return status;
}
