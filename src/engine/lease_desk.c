/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lease_desk.h"

#include <stdlib.h>

#include "base/status.h"
#include "engine/lease_internal.h"

struct or_lease_desk {
    struct onerow_coordinator *coordinator;
    const struct onerow_lease_ops *ops;
};

enum onerow_status or_lease_desk_open(const char *coordinator, struct or_lease_desk **desk,
                                      struct onerow_error *error)
{
    struct or_lease_desk *made = calloc(1, sizeof *made);
    *desk = NULL;
    if (!made) {
        return or_fail(error, ONEROW_NOMEM, "out of memory");
    }
    enum onerow_status status =
        or_lease_coordinator(coordinator, &made->coordinator, &made->ops, error);
    if (status != ONEROW_OK) {
        free(made);
        return status;
    }
    *desk = made;
    return ONEROW_OK;
}

void or_lease_desk_close(struct or_lease_desk *desk)
{
    if (desk) {
        desk->coordinator->type->close(desk->coordinator);
        free(desk);
    }
}

enum onerow_status or_lease_desk_list(struct or_lease_desk *desk, struct onerow_span prefix,
                                      bool free, onerow_visit_lease *visit, void *context,
                                      struct onerow_error *error)
{
    return desk->ops->list(desk->coordinator, prefix, free, visit, context, error);
}

enum onerow_status or_lease_desk_trail(struct or_lease_desk *desk, struct onerow_span prefix,
                                       onerow_visit_forced *visit, void *context,
                                       struct onerow_error *error)
{
    return desk->ops->trail(desk->coordinator, prefix, visit, context, error);
}

enum onerow_status or_lease_desk_force(struct or_lease_desk *desk,
                                       struct onerow_lease_forced *forced, struct or_arena *arena,
                                       struct onerow_error *error)
{
    return desk->ops->force(desk->coordinator, forced, arena, error);
}
