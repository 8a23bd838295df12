/**
 * Holds the answers of our own API against the document that the server itself serves: the operation
 * exists, the status is declared, and the body is what is declared there, with nothing besides.
 */
import { Ajv2020, type AnySchemaObject, type ValidateFunction } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import type { Answer, CallOptions, TestServer } from './server.ts'

interface Media {
  schema?: AnySchemaObject
}

export interface Operation {
  tags?: string[]
  summary?: string
  security?: unknown[]
  parameters?: { name: string; in: string; required?: boolean; schema?: AnySchemaObject }[]
  requestBody?: { content: Record<string, Media> }
  responses?: Record<string, { description?: string; content?: Record<string, Media> }>
}

export interface OpenApi {
  openapi: string
  info: { title: string; version: string }
  servers: { url: string }[]
  components: { securitySchemes: Record<string, unknown> }
  paths: Record<string, Record<string, Operation>>
}

export type Call = (method: string, url: string, options?: CallOptions) => Promise<Answer>

const BASE = '/api/v1'

/** `server.call` which throws for every answer of our API that its own document does not allow. */
export async function checkedCall(server: TestServer): Promise<Call> {
  const document = (await server.call('GET', '/api/openapi.json')).body as OpenApi
  const check = answerChecker(document)
  return async (method, url, options) => {
    const answer = await server.call(method, url, options)
    if (url.startsWith(`${BASE}/`)) check(method, url, answer)
    return answer
  }
}

function answerChecker({ paths }: OpenApi) {
  const ajv = new Ajv2020({ strict: true, strictTypes: false, allErrors: true })
  ajvFormats.default(ajv)
  const compiled = new Map<AnySchemaObject, ValidateFunction>()
  const templates = Object.keys(paths).map((template) => ({
    template,
    pattern: new RegExp(`^${template.replace(/\{[^}]+\}/g, '([^/]+)')}$`),
  }))
  // A path without parameters is more exact than one with.
  templates.sort((a, b) => a.template.split('{').length - b.template.split('{').length)

  return (method: string, url: string, answer: Answer): void => {
    const where = `${method} ${url} answered ${answer.status}`
    const path = url.split('?')[0] ?? ''
    const verb = method.toLowerCase()
    const match = templates.find(
      ({ template, pattern }) => paths[template]?.[verb] !== undefined && pattern.test(path),
    )
    const responses = paths[match?.template ?? '']?.[verb]?.responses
    const declared =
      responses?.[String(answer.status)] ?? responses?.[`${String(answer.status)[0]}XX`]
    if (declared === undefined) {
      if (answer.body?.code === 'route_not_found') return
      throw new Error(`${where}, which the document does not declare`)
    }
    if (declared.content === undefined) {
      if (answer.text !== '') throw new Error(`${where} with a body`)
      return
    }
    const type = String(answer.headers['content-type']).split(';')[0] ?? ''
    const schema = declared.content[type]?.schema
    if (schema === undefined) throw new Error(`${where} as undeclared ${type}`)
    const validate = compiled.get(schema) ?? ajv.compile(closed(schema))
    compiled.set(schema, validate)
    if (!validate(answer.body)) {
      throw new Error(`${where}: ${ajv.errorsText(validate.errors)}\n${answer.text.slice(0, 500)}`)
    }
  }
}

/** The schema with objects that take nothing but what they declare. */
function closed(schema: AnySchemaObject): AnySchemaObject {
  const inner = Object.entries(schema).map(([key, value]) => [key, closedValue(value)])
  const isListed = schema.properties !== undefined && schema.additionalProperties === undefined
  return { ...Object.fromEntries(inner), ...(isListed ? { additionalProperties: false } : {}) }
}

function closedValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closedValue)
  return typeof value === 'object' && value !== null ? closed(value) : value
}
