// SPDX-License-Identifier: Apache-2.0
// What a program with the official JavaScript client sees of the simulator; the results as JSON.
// Usage: node notion_client.mjs PACKAGE-FOLDER URL ROOT-PAGE
import { createRequire } from "node:module"

const [folder, url, root] = process.argv.slice(2)
const require = createRequire(import.meta.url)
const { Client, APIErrorCode, APIResponseError, iteratePaginatedAPI, isNotionClientError } =
  require(folder)

const quiet = { logLevel: "error", logger: () => {} }
const notion = new Client({ auth: "secret", baseUrl: url, ...quiet })
const once = new Client({ auth: "secret", baseUrl: url, retry: false, ...quiet })
const impatient = new Client({ auth: "secret", baseUrl: url, retry: false, timeoutMs: 200, ...quiet })
const title = text => ({ title: [{ text: { content: text } }] })
const seen = {}

async function refused(promise) {
  try {
    await promise
    return null
  } catch (error) {
    return {
      known: isNotionClientError(error),
      api: APIResponseError.isAPIResponseError(error),
      code: error.code,
      status: error.status,
      message: error.message,
      request: error.request_id,
      additional: error.additional_data,
    }
  }
}

async function order(fault, how = {}) {
  const body = JSON.stringify({ next: [{ fault, ...how }] })
  const answer = await fetch(`${url}/_sim/faults`, { method: "POST", body })
  if (!answer.ok) throw new Error(await answer.text())
}

const database = await notion.databases.create({
  parent: { type: "page_id", page_id: root },
  title: [{ text: { content: "Areas" } }],
  initial_data_source: { properties: { Name: { title: {} }, Rank: { number: {} } } },
})
const source = database.data_sources[0].id
seen.source = source
seen.schema = Object.keys((await notion.dataSources.retrieve({ data_source_id: source })).properties)

const create = (name, rank, client = notion) =>
  client.pages.create({
    parent: { type: "data_source_id", data_source_id: source },
    properties: { Name: title(name), Rank: { number: rank } },
  })

const page = await create("Home", 1)
for (let rank = 2; rank <= 7; rank++) await create(`Area ${rank}`, rank)
const ranks = []
for await (const row of iteratePaginatedAPI(notion.dataSources.query, {
  data_source_id: source,
  page_size: 3,
  sorts: [{ property: "Rank", direction: "descending" }],
})) {
  ranks.push(row.properties.Rank.number)
}
seen.ranks = ranks

const found = await notion.dataSources.query({
  data_source_id: source,
  filter: { property: "Name", title: { equals: "Home" } },
})
seen.found = found.results.map(row => row.id === page.id)
const updated = await notion.pages.update({ page_id: page.id, properties: { Rank: { number: 9 } } })
seen.updated = updated.properties.Rank.number
await notion.blocks.children.append({
  block_id: page.id,
  children: [{ paragraph: { rich_text: [{ text: { content: "text" } }] } }],
})
const children = await notion.blocks.children.list({ block_id: page.id })
seen.children = children.results.map(block => block.paragraph.rich_text[0].plain_text)
seen.trashed = (await notion.pages.update({ page_id: page.id, in_trash: true })).in_trash
seen.edited = await refused(create("X".repeat(2001), 1))
seen.missing = await refused(notion.pages.retrieve({ page_id: source }))
seen.me = (await notion.users.me({})).type

// The client waits and sends again by itself: 429 and 529, creates included.
await order("429", { method: "POST" })
seen.after429 = (await create("After 429", 20)).object
await order("529", { method: "POST" })
seen.after529 = (await create("After 529", 21)).object
// Others it hands on.
await order("409")
seen.conflict = await refused(create("Conflict", 22))
seen.conflictIsKnown = seen.conflict.code === APIErrorCode.ConflictError
await order("503-after-id", { method: "POST" })
seen.saved = await refused(create("Saved", 23))
await order("html", { method: "GET" })
seen.html = await refused(once.pages.retrieve({ page_id: page.id }))
await order("slow", { parameter: 1500, method: "POST" })
seen.slow = await refused(create("Slow", 24, impatient))
await order("reset-after", { method: "POST" })
seen.reset = await refused(create("Reset", 25))

console.log(JSON.stringify(seen))
