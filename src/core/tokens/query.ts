import { CoreError } from '../errors.ts'
import { checkProse } from '../text.ts'
import {
  NEWEST_FIRST,
  type PartField,
  SORT_FIELDS,
  type TimeField,
  type TokenOrder,
  type WordField,
} from './filter.ts'
import {
  type Comparison,
  type QueryTime,
  readId,
  readRange,
  readTime,
  readWord,
  TIME_HELP,
} from './query-values.ts'
import { ACCESS_LEVELS, TOKEN_KINDS, TOKEN_STATES, VIAS } from './token.ts'

/** One `field:value`, as it was written: with names for ids and distances for instants. */
export type QueryTerm =
  | { field: WordField | 'state' | 'ip'; values: string[] }
  | { field: PartField; contains: string[] }
  | { field: TimeField; times: QueryTime[] }

export type QueryNode = { all: QueryNode[] } | { any: QueryNode[] } | { not: QueryNode } | QueryTerm

export interface ParsedQuery {
  filter: QueryNode
  /** Undefined: the query does not say. */
  order: TokenOrder | undefined
}

export const MAX_QUERY_LENGTH = 2000
const MAX_VALUES = 200
const MAX_DEPTH = 20
const MAX_VALUE_LENGTH = 255

interface Value {
  text: string
  comparison: Comparison | undefined
  /** Where it begins. */
  at: number
}

/** Values of a known form; `help` says which. */
interface Words {
  type: 'words'
  read: (text: string) => string | undefined
  help: string
}

/** What a field can be asked, and how its values are read. */
type Field = Words | { type: 'names'; mayContain: boolean } | { type: 'text' } | { type: 'times' }

const ID: Field = { type: 'words', read: readId, help: 'the id of a token' }
const NAME: Field = { type: 'names', mayContain: false }
const TIME: Field = { type: 'times' }
const oneOf = (words: readonly string[]): Field => ({
  type: 'words',
  read: (text) => readWord(words, text),
  help: words.join(', '),
})

const FIELDS = {
  access: oneOf(ACCESS_LEVELS),
  /** What the user agent of the last use holds. */
  agent: { type: 'text' },
  client: NAME,
  created: TIME,
  creator: NAME,
  expires: TIME,
  family: ID,
  group: NAME,
  id: ID,
  ip: { type: 'words', read: readRange, help: 'an address or a range like 10.0.0.0/8' },
  kind: oneOf(TOKEN_KINDS),
  name: { type: 'names', mayContain: true },
  owner: NAME,
  parent: ID,
  revoked: TIME,
  role: NAME,
  scope: NAME,
  state: oneOf(TOKEN_STATES),
  superseded: TIME,
  text: { type: 'text' },
  used: TIME,
  via: oneOf(VIAS),
} as const satisfies Record<string, Field>

const FIELD_NAMES = Object.keys(FIELDS).join(', ')
const SORT_HELP = `sort:created, sort:-created, and the same with ${SORT_FIELDS.slice(1).join(', ')}`

/**
 * Reads a query like `owner:alice state:active (used:>90d or used:never) sort:-created`. Throws
 * `invalid_input` with the column at which it goes wrong and with what is possible there.
 */
export function parseQuery(text: string): ParsedQuery {
  checkProse(text, { what: 'The query', maxLength: MAX_QUERY_LENGTH })
  return parser(text).query()
}

function parser(text: string) {
  let at = 0
  let values = 0
  let order: TokenOrder | undefined

  function problem(where: number, sentence: string): CoreError {
    const column = [...text.slice(0, where)].length + 1
    return new CoreError('invalid_input', `column ${column}: ${sentence}`, { column })
  }

  /** What stands here, if it fits, and goes on behind it. */
  function take(pattern: RegExp): string | undefined {
    const sticky = new RegExp(pattern.source, 'iy')
    sticky.lastIndex = at
    const [found] = sticky.exec(text) ?? []
    if (found !== undefined) at += found.length
    return found
  }

  const skipSpace = () => take(/\s+/)
  /** `or`, `and`, `not` as a word of its own. */
  const takeKeyword = (word: string) => take(new RegExp(`${word}(?=[\\s()]|$)`)) !== undefined
  const isAtEnd = () => at >= text.length || text[at] === ')'

  function query(): ParsedQuery {
    const filter = disjunction(0)
    if (at < text.length) throw problem(at, 'this ) closes nothing. Remove it.')
    return { filter, order }
  }

  function disjunction(depth: number): QueryNode {
    const branches: QueryNode[][] = []
    do {
      const parts = conjunction(depth)
      const mayBeEmpty = depth === 0 && branches.length === 0 && !isKeywordAhead('or')
      if (parts.length === 0 && !mayBeEmpty)
        throw problem(at, 'a filter like owner:alice is wanted here.')
      branches.push(parts)
    } while (takeKeyword('or'))
    const [only] = branches
    return only !== undefined && branches.length === 1
      ? together(only)
      : { any: branches.map(together) }
  }

  /** Filters beside each other, until `or`, the end, or what closes the parentheses. */
  function conjunction(depth: number): QueryNode[] {
    const parts: QueryNode[] = []
    for (let isFirst = true; ; isFirst = false) {
      skipSpace()
      if (isAtEnd() || isKeywordAhead('or')) return parts
      if (!isFirst && takeKeyword('and')) {
        skipSpace()
        if (isAtEnd() || isKeywordAhead('or')) throw problem(at, 'a filter is wanted after "and".')
      }
      if (!takeSort(depth)) parts.push(negation(depth))
    }
  }

  function isKeywordAhead(word: string): boolean {
    const before = at
    const found = takeKeyword(word)
    at = before
    return found
  }

  function negation(depth: number): QueryNode {
    if (depth > MAX_DEPTH) throw problem(at, `a query nests at most ${MAX_DEPTH} levels deep.`)
    const isNegated = takeKeyword('not') || take(/-/) !== undefined
    if (!isNegated) return primary(depth)
    skipSpace()
    if (isAtEnd()) throw problem(at, 'a filter is wanted after "not".')
    return { not: negation(depth + 1) }
  }

  function primary(depth: number): QueryNode {
    const start = at
    if (take(/\(/) === undefined) return term()
    skipSpace()
    const inner = disjunction(depth + 1)
    skipSpace()
    if (take(/\)/) === undefined) throw problem(start, 'this ( is never closed. Add a ).')
    return inner
  }

  /** `sort:-used`; it belongs to the query as a whole, so only outside of parentheses. */
  function takeSort(depth: number): boolean {
    const start = at
    if (take(/sort:/) === undefined) return false
    if (depth > 0)
      throw problem(start, 'sort is for the whole query. Move it out of the parentheses.')
    if (order !== undefined) throw problem(start, 'there is a sort already. Keep one of them.')
    const valueAt = at
    const descending = take(/-/) !== undefined
    const word = take(/[^\s()]+/)?.toLowerCase()
    const by = SORT_FIELDS.find((field) => field === word)
    if (by === undefined) throw problem(valueAt, `say ${SORT_HELP}.`)
    order = { by, descending }
    return true
  }

  function term(): QueryTerm {
    const start = at
    const name = take(/[a-z_]+(?=[:~])/)?.toLowerCase()
    if (name === undefined) {
      throw problem(start, 'this is no filter. Write field:value, or text~"…" for any text.')
    }
    if (!isField(name)) {
      if (name === 'sort') throw problem(start, 'sort cannot be negated, and takes a colon.')
      throw problem(start, `there is no such field. The fields are ${FIELD_NAMES}, and sort.`)
    }
    const operatorAt = at
    const operator = take(/[:~]/)
    const list = valueList(name)
    return termOf(name, { list, operatorAt, isPart: operator === '~' })
  }

  function valueList(field: string): Value[] {
    const list: Value[] = []
    do {
      if (++values > MAX_VALUES) throw problem(at, `a query has at most ${MAX_VALUES} values.`)
      list.push(value(field))
    } while (take(/,/) !== undefined)
    if (!isAtEnd() && !/[\s(]/.test(text[at] ?? '')) {
      throw problem(at, 'a space is wanted here. Write values with special characters in quotes.')
    }
    return list
  }

  function value(field: string): Value {
    const start = at
    const comparison = take(/[<>]=?/) as Comparison | undefined
    const word = take(/"/) === undefined ? take(/[^\s()",]+/) : quoted(at - 1)
    if (word === undefined || word === '') {
      throw problem(at, `a value for ${field} is wanted here, without a space before it.`)
    }
    if (word.length > MAX_VALUE_LENGTH) {
      throw problem(start, `a value has at most ${MAX_VALUE_LENGTH} characters.`)
    }
    return { text: word, comparison, at: start }
  }

  /** Up to the closing quote; `\"` and `\\` are themselves. */
  function quoted(start: number): string {
    const inside = take(/(?:[^"\\]|\\["\\])*/) ?? ''
    if (take(/"/) !== undefined) return inside.replace(/\\(["\\])/g, '$1')
    if (text[at] === '\\') throw problem(at, 'behind \\ there can be " or \\ only.')
    throw problem(start, 'this " is never closed. Add another.')
  }

  function termOf(
    name: FieldName,
    { list, operatorAt, isPart }: { list: Value[]; operatorAt: number; isPart: boolean },
  ): QueryTerm {
    const field: Field = FIELDS[name]
    const mayContain = field.type === 'text' || (field.type === 'names' && field.mayContain)
    if (isPart && !mayContain) {
      throw problem(
        operatorAt,
        `~ is for text, name and agent. Write ${name}: with an exact value.`,
      )
    }
    if (!isPart && field.type === 'text') {
      throw problem(operatorAt, `${name} is looked for in parts. Write ${name}~"…".`)
    }
    if (field.type === 'times') {
      return { field: name as TimeField, times: list.map((each) => timeOf(name, each)) }
    }
    for (const { at: valueAt, comparison } of list) {
      if (comparison === undefined) continue
      throw problem(
        valueAt,
        `${name} cannot be compared. Leave out the ${comparison}, or quote it.`,
      )
    }
    if (isPart) return { field: name as PartField, contains: list.map((each) => each.text) }
    const values = list.map((each) =>
      field.type === 'words' ? wordOf(name, field, each) : each.text,
    )
    return { field: name as WordField | 'state' | 'ip', values }
  }

  function wordOf(name: string, { read, help }: Words, { text: word, at: valueAt }: Value): string {
    const found = read(word)
    if (found === undefined) throw problem(valueAt, `${name} is ${help}.`)
    return found
  }

  function timeOf(name: string, { text: word, comparison, at: valueAt }: Value): QueryTime {
    const time = readTime(word, comparison)
    if (time === undefined) throw problem(valueAt, `${name} takes ${TIME_HELP}.`)
    return time
  }

  return { query }
}

const together = (parts: QueryNode[]): QueryNode => {
  const [only] = parts
  return only !== undefined && parts.length === 1 ? only : { all: parts }
}

type FieldName = keyof typeof FIELDS

function isField(name: string): name is FieldName {
  return Object.hasOwn(FIELDS, name)
}

/** The order of a query: as it says, or newest first. */
export function orderOf({ order }: ParsedQuery): TokenOrder {
  return order ?? NEWEST_FIRST
}
