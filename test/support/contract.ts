/**
 * Holds a dialect's answers against its OpenAPI file in test/contracts: the operation exists, the
 * status is declared, and headers and body are what that status declares, with nothing besides.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  Ajv2019,
  type AnySchemaObject,
  type ErrorObject,
  type ValidateFunction,
} from 'ajv/dist/2019.js'
import ajvFormats from 'ajv-formats'
import { parse } from 'yaml'

export type ContractName = 's7' | 'xms' | 'opal' | 'authentik'

/** One HTTP exchange, as `inject` gives it, or `fetch` with `await response.text()`. */
export interface Exchange {
  method: string
  /** The path as sent: with its base path, still percent-encoded; a query is ignored. */
  path: string
  status: number
  headers: Readonly<Record<string, string | readonly string[] | number | undefined>>
  /** The raw body; the empty string when there is none. */
  body: string
}

export interface ContractOptions {
  /** Refuse object members that the contract does not declare. Default: true for s7 and xms. */
  strictMembers?: boolean
}

export interface Contract {
  /** Throws an Error that says what breaks the contract, and where. */
  validate(exchange: Exchange): void
}

/** What of OpenAPI 3.0 the four contracts use. */
interface Document {
  paths: Record<string, Record<string, unknown>>
}

interface Operation {
  responses: Record<string, unknown>
}

interface Response {
  content?: Record<string, { schema: AnySchemaObject }>
  headers?: Record<string, { schema: AnySchemaObject }>
}

interface Rules {
  basePaths: string[]
  strictMembers: boolean
  nulls: 'declared' | 'never'
  /** Paths that the original also answers at, without the base path. */
  aliases?: Record<string, string>
}

const rules: Record<ContractName, Rules> = {
  s7: { basePaths: ['/api/auth/v1', '/api/auth/v2'], strictMembers: true, nulls: 'never' },
  xms: {
    basePaths: ['/v1'],
    strictMembers: true,
    nulls: 'declared',
    aliases: { '/access-tokens': '/access-tokens/' },
  },
  opal: { basePaths: ['/v1'], strictMembers: false, nulls: 'declared' },
  authentik: { basePaths: ['/api/v3'], strictMembers: false, nulls: 'declared' },
}

export const contractsFolder = join(import.meta.dirname, '../contracts')

export function contract(name: ContractName, options: ContractOptions = {}): Contract {
  const { basePaths, nulls, aliases = {}, ...defaults } = rules[name]
  const strictMembers = options.strictMembers ?? defaults.strictMembers
  const document = load(name)
  const templates = Object.keys(document.paths)
    .map((template) => ({ template, pattern: patternOf(template) }))
    .sort((a, b) => literalLength(b.template) - literalLength(a.template))
  const schemas = schemasOf(document, strictMembers)

  function findOperation(method: string, path: string): { operation: Operation; label: string } {
    const basePath = basePaths.find((base) => path.startsWith(`${base}/`))
    if (basePath === undefined) throw new Error(`is not below ${basePaths.join(' or ')}`)
    const relative = path.slice(basePath.length)
    const wanted = aliases[relative] ?? relative
    for (const { template, pattern } of templates) {
      const operation = document.paths[template]?.[method.toLowerCase()]
      if (operation && pattern.test(wanted)) {
        return { operation: operation as Operation, label: `${method} ${template}` }
      }
    }
    throw new Error('is no operation of this contract')
  }

  function validate({ method, path, status, headers, body }: Exchange): void {
    const where = `${name}: ${method} ${path} answered ${status}`
    try {
      const { operation, label } = findOperation(method, path.replace(/\?.*$/s, ''))
      const response = schemas.resolve<Response>(declaredResponse(operation, status, label))
      checkHeaders(response, headers, status)
      checkBody(response, headers, body)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      const shown = body === '' ? '(no body)' : body.slice(0, 1000)
      throw new Error(`${where}: ${reason}\n${shown}`, { cause: error })
    }
  }

  function checkHeaders(response: Response, headers: Exchange['headers'], status: number): void {
    for (const [header, { schema }] of Object.entries(response.headers ?? {})) {
      const value = headerOf(headers, header)
      if (value === undefined) throw new Error(`the declared header ${header} is missing`)
      schemas.check(schema, value)
    }
    if (status === 204 && headerOf(headers, 'content-length') !== undefined) {
      throw new Error('a 204 must not have a Content-Length')
    }
  }

  function checkBody(response: Response, headers: Exchange['headers'], body: string): void {
    const schema = response.content?.['application/json']?.schema
    if (!schema) {
      if (body !== '') throw new Error('has a body where none is declared')
      return
    }
    if (body === '') throw new Error('has no body where one is declared')
    const contentType = headerOf(headers, 'content-type') ?? '(none)'
    if (!/^application\/json\s*(;|$)/i.test(contentType)) {
      throw new Error(`has content type ${contentType} instead of application/json`)
    }
    const value = parseJson(body)
    if (nulls === 'never') refuseNulls(value, '')
    schemas.check(schema, value)
  }

  return { validate }
}

/** The exact status, then its class; `default` speaks only for failures, never for a new success. */
function declaredResponse({ responses }: Operation, status: number, label: string): unknown {
  const response =
    responses[status] ??
    responses[`${Math.floor(status / 100)}XX`] ??
    (status >= 400 ? responses.default : undefined)
  if (response) return response
  throw new Error(`${label} declares only ${Object.keys(responses).join(', ')}`)
}

interface Schemas {
  /** Follows a `$ref` within the document, if there is one. */
  resolve<T>(node: unknown): T
  /** Throws unless the value fits the schema. */
  check(schema: AnySchemaObject, value: unknown): void
}

/** The schemas of one document, each compiled when it is first used. */
function schemasOf(document: Document, strictMembers: boolean): Schemas {
  const ajv = new Ajv2019({ strict: true, strictTypes: false, allErrors: true, verbose: true })
  ajvFormats.default(ajv)
  // RFC 3339 allows any offset; every time we send is UTC and says so with a Z.
  ajv.addFormat('date-time', {
    validate: (text: string) =>
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(text) && !Number.isNaN(Date.parse(text)),
  })
  const compiled = new Map<AnySchemaObject, ValidateFunction>()

  function resolve<T>(node: unknown): T {
    const reference = (node as { $ref?: string }).$ref
    if (reference === undefined) return node as T
    let target: unknown = document
    for (const key of reference.replace(/^#\//, '').split('/')) {
      target = (target as Record<string, unknown> | undefined)?.[key]
    }
    if (target === undefined) throw new Error(`the contract has no ${reference}`)
    return resolve(target)
  }

  function check(schema: AnySchemaObject, value: unknown): void {
    let validate = compiled.get(schema)
    if (!validate) {
      validate = ajv.compile(translate(schema))
      compiled.set(schema, validate)
    }
    if (!validate(value)) throw new Error((validate.errors ?? []).map(sentence).join('; '))
  }

  /**
   * OpenAPI 3.0 to JSON Schema: references inlined, `nullable` made a type. Objects are closed with
   * `unevaluatedProperties`, which sees through `allOf`; so the parts of an `allOf` stay open.
   */
  function translate(node: unknown, isPart = false): AnySchemaObject {
    const {
      nullable,
      allOf,
      properties,
      items,
      example: _,
      ...schema
    } = resolve<AnySchemaObject>(node)
    if (properties) {
      schema.properties = Object.fromEntries(
        Object.entries(properties).map(([key, value]) => [key, translate(value)]),
      )
    }
    if (items) schema.items = translate(items)
    if (allOf) schema.allOf = allOf.map((part: unknown) => translate(part, true))
    if ((properties || allOf) && strictMembers && !isPart) schema.unevaluatedProperties = false
    if (nullable) schema.type = [schema.type, 'null']
    if (nullable && schema.enum) schema.enum = [...schema.enum, null]
    return schema
  }

  return { resolve, check }
}

function load(name: ContractName): Document {
  const read = (file: string) => parse(readFileSync(join(contractsFolder, file), 'utf8'))
  const additions = `additions/${name}.yaml`
  const document = read(`${name}.openapi.yaml`)
  return existsSync(join(contractsFolder, additions)) ? merge(document, read(additions)) : document
}

function merge<T>(base: T, addition: T): T {
  if (!isObject(base) || !isObject(addition)) return addition
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(addition)) {
    merged[key] = key in merged ? merge(merged[key], value) : value
  }
  return merged as T
}

/** `/tokens/{id}:verb` → a pattern in which a parameter is one segment, or the start of one. */
function patternOf(template: string): RegExp {
  const literals = template
    .split(/\{[^}]+\}/)
    .map((text) => text.replace(/[.*+?^$()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${literals.join('[^/]+')}$`)
}

/** The template with more literal text is the more specific: `{id}:verb` is tried before `{id}`. */
function literalLength(template: string): number {
  return template.replace(/\{[^}]+\}/g, '').length
}

function headerOf(headers: Exchange['headers'], name: string): string | undefined {
  const entry = Object.entries(headers).find(([key]) => key.toLowerCase() === name.toLowerCase())
  return entry?.[1] === undefined ? undefined : String(entry[1])
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch (error) {
    throw new Error('has a body that is not JSON', { cause: error })
  }
}

function refuseNulls(value: unknown, path: string): void {
  if (value === null) throw new Error(`${path || 'the body'} is null`)
  if (typeof value !== 'object') return
  for (const [key, member] of Object.entries(value)) refuseNulls(member, `${path}/${key}`)
}

function sentence({ instancePath, keyword, params, message, data }: ErrorObject): string {
  const path = instancePath || 'the body'
  if (keyword === 'unevaluatedProperties') {
    return `${path} has the undeclared member ${params.unevaluatedProperty}`
  }
  const options = keyword === 'enum' ? ` ${params.allowedValues.join(', ')}` : ''
  return `${path} ${message}${options}, but is ${JSON.stringify(data)}`
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
