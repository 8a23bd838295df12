import type { ImportAlgorithm, ImportRow } from '@mintmark/sdk'
import { parse } from 'csv-parse/sync'
import { wrongUsage } from '../failure.ts'
import { groupGrant } from '../values.ts'

/** A line of a file: a token, or why it cannot be one. */
export type Line = { row: number; token: ImportRow } | { row: number; fault: string }

/** Columns by the names that files have for them. */
const FIELDS = [
  'secret',
  'hash',
  'algorithm',
  'lookup',
  'name',
  'description',
  'owner',
  'kind',
  'access_level',
  'roles',
  'groups',
  'scopes',
  'allowed_ips',
  'created_at',
  'expires_at',
  'metadata',
  'external_id',
] as const
type Field = (typeof FIELDS)[number]
export const FIELD_NAMES = FIELDS.join(', ')

const ALGORITHMS: Record<string, ImportAlgorithm> = {
  sha256: 'sha256-hex',
  'sha256-hex': 'sha256-hex',
  'sha256-base64': 'sha256-base64',
  bcrypt: 'bcrypt',
  argon2: 'argon2',
  argon2id: 'argon2',
}

/** Ours → theirs, from `name=token_name,owner=user`. Throws wrong usage. */
export function mappingOf(text: string): Map<Field, string> {
  const mapping = new Map<Field, string>()
  for (const pair of text.split(',')) {
    const equals = pair.indexOf('=')
    const field = FIELDS.find((each) => each === pair.slice(0, equals).trim())
    if (equals < 1 || field === undefined) {
      throw wrongUsage(`--map is like name=token_name,owner=user. Ours are: ${FIELD_NAMES}`)
    }
    mapping.set(field, pair.slice(equals + 1).trim())
  }
  return mapping
}

/** The lines of a CSV file with a header, or of one with a JSON object in each line. */
export function linesOf(
  text: string,
  { format, mapping }: { format: 'csv' | 'jsonl'; mapping: Map<Field, string> },
): Line[] {
  return format === 'csv' ? csvLines(text, mapping) : jsonLines(text, mapping)
}

function csvLines(text: string, mapping: Map<Field, string>): Line[] {
  let records: Record<string, string>[]
  try {
    records = parse(text, { columns: true, bom: true, skip_empty_lines: true, trim: true })
  } catch (error) {
    throw wrongUsage(`The file is no CSV with a header: ${(error as Error).message}`)
  }
  return records.map((record, i) => lineOf(i + 1, record, mapping))
}

function jsonLines(text: string, mapping: Map<Field, string>): Line[] {
  return text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '')
    .map((line, i) => {
      try {
        return lineOf(i + 1, JSON.parse(line) as Record<string, unknown>, mapping)
      } catch {
        return { row: i + 1, fault: 'The line is no JSON object.' }
      }
    })
}

function lineOf(row: number, record: Record<string, unknown>, mapping: Map<Field, string>): Line {
  const of = (field: Field): unknown => {
    const value = record[mapping.get(field) ?? field]
    return value === '' || value === null ? undefined : value
  }
  try {
    const token: Partial<ImportRow> & { row: number } = { row }
    const text = (field: Field): string | undefined => {
      const value = of(field)
      return value === undefined ? undefined : String(value)
    }
    const set = <K extends keyof ImportRow>(key: K, value: ImportRow[K] | undefined) => {
      if (value !== undefined) token[key] = value
    }
    set('secret', text('secret'))
    set('hash', text('hash'))
    set('algorithm', algorithmOf(text('algorithm'), text('hash')))
    set('lookup', text('lookup'))
    set('name', text('name'))
    set('description', text('description'))
    set('owner', text('owner'))
    set('externalId', text('external_id'))
    set('kind', oneOf(text('kind'), ['api', 'service'] as const, 'kind'))
    set(
      'accessLevel',
      oneOf(text('access_level'), ['READ_ONLY', 'FULL_ACCESS'] as const, 'access_level'),
    )
    set('roles', words(of('roles')))
    set('scopes', words(of('scopes')))
    set('groups', groupsOf(of('groups')))
    set('allowedIps', words(of('allowed_ips')))
    set('createdAt', instantOf(of('created_at'), 'created_at') ?? undefined)
    set('expiresAt', instantOf(of('expires_at'), 'expires_at'))
    set('metadata', objectOf(of('metadata')))
    if (token.name === undefined) return { row, fault: 'The row has no name.' }
    if (token.owner === undefined) return { row, fault: 'The row has no owner.' }
    return { row, token: token as ImportRow }
  } catch (error) {
    return { row, fault: (error as Error).message }
  }
}

/** The two slow ones say themselves which they are. */
function algorithmOf(
  text: string | undefined,
  hash: string | undefined,
): ImportAlgorithm | undefined {
  if (text !== undefined) {
    const known = ALGORITHMS[text.toLowerCase()]
    if (known === undefined) throw new Error(`The algorithm "${text}" is not known.`)
    return known
  }
  if (hash?.startsWith('$argon2')) return 'argon2'
  return hash !== undefined && /^\$2[aby]\$/.test(hash) ? 'bcrypt' : undefined
}

function oneOf<T extends string>(
  text: string | undefined,
  values: readonly T[],
  field: Field,
): T | undefined {
  if (text === undefined) return undefined
  const found = values.find((value) => value.toLowerCase() === text.toLowerCase())
  if (found === undefined) throw new Error(`${field} must be one of ${values.join(', ')}.`)
  return found
}

/** A list, or words between spaces, commas or semicolons; a star is all that the owner has. */
function words(value: unknown): string[] | null | undefined {
  if (value === undefined) return undefined
  if (value === '*') return null
  return Array.isArray(value)
    ? value.map(String)
    : String(value)
        .split(/[\s,;]+/)
        .filter(Boolean)
}

function groupsOf(value: unknown): ImportRow['groups'] | undefined {
  if (Array.isArray(value) && value.every((each) => typeof each === 'object' && each !== null)) {
    return value as { group: string; mode: 'READ' }[]
  }
  return words(value)?.map(groupGrant) ?? (value === '*' ? null : undefined)
}

/** RFC 3339, or seconds since 1970; `never` where there may be no end. */
function instantOf(value: unknown, field: Field): string | null | undefined {
  if (value === undefined) return undefined
  if (value === 'never') return null
  const isNumber = typeof value === 'number' || /^\d{9,11}(\.\d+)?$/.test(String(value))
  const ms = isNumber ? Number(value) * 1000 : Date.parse(String(value))
  if (Number.isNaN(ms)) throw new Error(`${field} is no instant like 2030-01-31T12:00:00Z.`)
  return new Date(ms).toISOString()
}

function objectOf(value: unknown): Record<string, unknown> | undefined {
  const found: unknown = typeof value === 'string' ? JSON.parse(value) : value
  if (found === undefined) return undefined
  if (typeof found === 'object' && found !== null && !Array.isArray(found)) return { ...found }
  throw new Error('metadata must be a JSON object.')
}
