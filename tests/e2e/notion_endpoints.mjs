// SPDX-License-Identifier: Apache-2.0
// The endpoints that the official JavaScript client knows: method, path and members of the body.
// Usage: node notion_endpoints.mjs PACKAGE-FOLDER
import { createRequire } from "node:module"

const [folder] = process.argv.slice(2)
const endpoints = createRequire(import.meta.url)(`${folder}/build/src/api-endpoints.js`)
const id = new Proxy({}, { get: () => "{}" })
const seen = Object.entries(endpoints)
  .filter(([, endpoint]) => endpoint?.bodyParams)
  .map(([name, endpoint]) => ({
    name,
    method: endpoint.method.toUpperCase(),
    path: `/v1/${endpoint.path(id)}`,
    body: endpoint.bodyParams,
  }))
console.log(JSON.stringify(seen))
