// SPDX-License-Identifier: Apache-2.0
// What a program with the official JavaScript client sees of a data source, as JSON: its live pages,
// and the pages with certain ids.
// Usage: node notion_pages.mjs PACKAGE-FOLDER URL DATA-SOURCE [FILE-WITH-A-LIST-OF-IDS]
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"

const [folder, url, source, file] = process.argv.slice(2)
const { Client, iteratePaginatedAPI } = createRequire(import.meta.url)(folder)
const notion = new Client({ auth: "secret", baseUrl: url })

const text = runs => runs.map(run => run.plain_text).join("")
const shown = ({ id, in_trash, properties }) => ({
  id,
  in_trash,
  Name: text(properties.Name.title),
  Text: text(properties.Text.rich_text),
  Rank: properties.Rank.number,
  Kind: properties.Kind.select?.name ?? null,
  State: properties.State.status?.name ?? null,
})

const live = []
for await (const page of iteratePaginatedAPI(notion.dataSources.query, { data_source_id: source })) {
  live.push(shown(page))
}
const asked = {}
for (const id of file ? JSON.parse(readFileSync(file)) : []) {
  asked[id] = shown(await notion.pages.retrieve({ page_id: id }))
}
console.log(JSON.stringify({ live, asked }))
