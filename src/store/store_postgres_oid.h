/* SPDX-License-Identifier: Apache-2.0
 *
 * Types by their fixed ids (pg_type.dat), as far as this store treats them apart.
 */
#ifndef OR_STORE_POSTGRES_OID_H
#define OR_STORE_POSTGRES_OID_H

enum or_postgres_oid {
    OR_OID_BOOL = 16,
    OR_OID_BYTEA = 17,
    OR_OID_CHAR = 18, /* "char", in quotes */
    OR_OID_NAME = 19,
    OR_OID_INT8 = 20,
    OR_OID_INT2 = 21,
    OR_OID_INT4 = 23,
    OR_OID_TEXT = 25,
    OR_OID_JSON = 114,
    OR_OID_BOX = 603,
    OR_OID_FLOAT4 = 700,
    OR_OID_FLOAT8 = 701,
    OR_OID_TEXT_ARRAY = 1009,
    OR_OID_BPCHAR = 1042,
    OR_OID_VARCHAR = 1043,
    OR_OID_DATE = 1082,
    OR_OID_TIME = 1083,
    OR_OID_TIMESTAMP = 1114, /* without time zone */
    OR_OID_TIMESTAMPTZ = 1184,
    OR_OID_INTERVAL = 1186,
    OR_OID_TIMETZ = 1266,
    OR_OID_BIT = 1560,
    OR_OID_VARBIT = 1562,
    OR_OID_NUMERIC = 1700,
    OR_OID_JSONB = 3802,
    OR_OID_TSRANGE = 3908,
    OR_OID_DATERANGE = 3912,
    OR_OID_TSMULTIRANGE = 4533,
    OR_OID_DATEMULTIRANGE = 4535,
    OR_OID_FIRST_CREATED = 16384, /* from here on types are not built in */
};

#endif
