import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { OpenApi, Operation } from '../support/openapi.ts'
import { type Route, startWithRoutes } from '../support/routes.ts'
import type { TestServer } from '../support/server.ts'

let server: TestServer
let routes: Route[]
let document: OpenApi
let operations: { name: string; path: string; method: string; operation: Operation }[]

beforeAll(async () => {
  const started = await startWithRoutes({ MINTMARK_PUBLIC_URL: 'https://tokens.example.org' })
  server = started.server
  routes = started.routes
  document = (await server.call('GET', '/api/openapi.json', { token: null })).body
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      path,
      method,
      operation,
    })),
  )
})
afterAll(() => server.close())

test('it is OpenAPI 3.1 and names the configured address, whatever Host says', async () => {
  expect(document.openapi).toBe('3.1.0')
  expect(document.info.title).toBe('Mintmark')
  const asked = await server.call('GET', '/api/openapi.json', {
    headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example' },
  })
  expect(asked.body.servers).toEqual([{ url: 'https://tokens.example.org' }])
})

test('it describes every route of our API, and no others', () => {
  const described = operations.map(({ name }) => name).sort()
  const registered = routes
    .filter(({ method, url }) => url.startsWith('/api/v1/') && method !== 'HEAD')
    // A colon that belongs to the path is written twice.
    .map(
      ({ method, url }) => `${method} ${url.replace(/(?<!:):(\w+)/g, '{$1}').replace('::', ':')}`,
    )
    .sort()
  expect(described).toEqual(registered)
})

test('every operation has a tag, a summary, answers with descriptions, and its refusals', () => {
  for (const { name, operation } of operations) {
    expect(operation.tags, name).toHaveLength(1)
    expect(operation.summary, name).toMatch(/^[A-Z]/)
    const statuses = Object.keys(operation.responses ?? {})
    const good = statuses.filter((status) => /^2\d\d$/.test(status))
    // Where the real thing answers nothing or later, 200 is that of a dry run.
    expect(good.length === 1 ? good : good.filter((status) => status !== '200'), name).toHaveLength(
      1,
    )
    expect(statuses, name).toEqual(expect.arrayContaining(['4XX', '5XX']))
    for (const response of Object.values(operation.responses ?? {})) {
      expect(response.description, name).toBeTruthy()
    }
    for (const status of ['4XX', '5XX']) {
      const content = operation.responses?.[status]?.content ?? {}
      expect(Object.keys(content), name).toEqual(['application/problem+json'])
    }
  }
})

test('summaries are unique, parameters declared, and only the named are open', () => {
  const summaries = operations.map(({ operation }) => operation.summary)
  expect(new Set(summaries).size).toBe(summaries.length)
  for (const { name, path, operation } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, param]) => param)
    const declared = (operation.parameters ?? []).filter((each) => each.in === 'path')
    expect(declared.map((each) => each.name).sort(), name).toEqual(inPath.sort())
    for (const parameter of declared) expect(parameter.required, name).toBe(true)
  }
  const open = operations.filter(({ operation }) => operation.security !== undefined)
  // The feed is signed, and the report of leaks takes a signature instead of a credential.
  expect(open.map(({ name }) => name).sort()).toEqual([
    'GET /api/v1/revocations',
    'POST /api/v1/leaks/github',
    'POST /api/v1/login',
  ])
  expect(Object.keys(document.components.securitySchemes)).toEqual(['bearer'])
})

test('every schema in it is one, and request bodies take nothing undeclared', () => {
  const ajv = new Ajv2020({ strict: true, strictTypes: false })
  ajvFormats.default(ajv)
  for (const { name, operation } of operations) {
    for (const { schema } of operation.parameters ?? []) {
      expect(schema, name).toBeDefined()
      ajv.compile(schema ?? false)
    }
    for (const response of Object.values(operation.responses ?? {})) {
      for (const { schema } of Object.values(response.content ?? {})) ajv.compile(schema ?? false)
    }
    const body = operation.requestBody?.content['application/json']?.schema
    if (body === undefined) continue
    ajv.compile(body)
    // GitHub's shape, not ours: it may bring members that we do not know.
    if (name === 'POST /api/v1/leaks/github') continue
    const objects = [body, ...(body.anyOf ?? [])].filter(({ type }) => type === 'object')
    expect(objects, name).not.toEqual([])
    for (const object of objects) expect(object.additionalProperties, name).toBe(false)
  }
})

test('a request that the document allows may come without its optional body', async () => {
  const revoke = document.paths['/api/v1/tokens/{id}/revoke']?.post
  expect(revoke?.requestBody).toBeDefined()
  const { status } = await server.call('POST', '/api/v1/tokens/self/revoke', {
    token: (await server.makeUser({ username: 'alice' })).token,
  })
  expect(status).toBe(200)
})
