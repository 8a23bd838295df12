import { secretKind } from '@mintmark/sdk'

/** Secrets of others' formats have no checksum, so whatever is spelled like one is a candidate. */
export type Candidate = 'hex' | 'uuid'

/** A secret, or what may be one, at a byte of a window. */
export interface Match {
  at: number
  secret: string
  /** As the secret names it, such as `api`; for candidates their format. */
  kind: string
  isCandidate: boolean
}

/** Where something may start: from `from` up to, not including, `until`. */
export interface Range {
  from: number
  until: number
}

/** Longer than any secret together with the character after it. */
export const REACH = 128

const MARK = Buffer.from('mm_')
// A kind is short, which bounds how much must be kept. No boundary is asked for, because `\nmm_api_…`
// in a JSON string has a letter before it: the checksum alone decides.
const OURS = /^mm_[a-z]{1,32}(?:_[a-z]{1,32})?_[0-9A-Za-z]{49}/
/** `mm_`, a kind of one letter, `_` and the rest. */
const SHORTEST = 3 + 1 + 1 + 49
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** What a byte can be part of: bits, so that a whole run is asked by AND. */
const WORD = 1
const HEX = 2
const CLASSES = classes()

function classes(): Uint8Array {
  const table = new Uint8Array(256)
  const mark = (characters: string, bits: number) => {
    for (const byte of Buffer.from(characters)) table[byte] = bits
  }
  mark('ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ', WORD)
  mark('0123456789abcdef', WORD | HEX)
  return table
}

function classOf(byte: number | undefined): number {
  return byte === undefined ? 0 : (CLASSES[byte] ?? 0)
}

/** The secrets of Mintmark that start in a range of the window. */
export function oursIn(window: Buffer, { from, until }: Range): Match[] {
  const found: Match[] = []
  let at = window.indexOf(MARK, from)
  while (at >= 0 && at < until) {
    const match = ourAt(window, at)
    if (match !== undefined) found.push(match)
    at = window.indexOf(MARK, at + (match?.secret.length ?? MARK.length))
  }
  return found
}

function ourAt(window: Buffer, at: number): Match | undefined {
  if (!isLongWord(window, at)) return undefined
  const secret = OURS.exec(window.toString('latin1', at, at + REACH))?.[0]
  const kind = secret === undefined ? undefined : secretKind(secret)
  if (secret === undefined || kind === undefined) return undefined
  return { at, secret, kind, isCandidate: false }
}

/** Names like `mm_of` are many in some code, and refused here before anything is made of them. */
function isLongWord(window: Buffer, at: number): boolean {
  for (let i = at + MARK.length; i < at + SHORTEST; i++) {
    const byte = window[i]
    if (classOf(byte) === 0 && byte !== 0x5f) return false
  }
  return true
}

/** What is spelled like a secret of others and stands alone, in a range of the window. */
export function candidatesIn(
  window: Buffer,
  { from, until, also }: Range & { also: readonly Candidate[] },
): Match[] {
  const [wantsHex, wantsUuid] = [also.includes('hex'), also.includes('uuid')]
  const found: Match[] = []
  const take = (kind: Candidate, at: number, end: number) =>
    found.push({ at, secret: window.toString('latin1', at, end), kind, isCandidate: true })
  // A word that started before the range was judged there.
  let i = classOf(window[from - 1]) === 0 ? from : wordEnd(window, from)
  while (i < until) {
    const start = i
    let all = HEX
    for (let bits = classOf(window[i]); bits !== 0; bits = classOf(window[++i])) all &= bits
    if (i === start) i++
    else if (all !== 0 && wantsHex && i - start === 32) take('hex', start, i)
    else if (all !== 0 && wantsUuid && i - start === 8 && isUuid(window, start)) {
      i = start + 36
      take('uuid', start, i)
    }
  }
  return found
}

function wordEnd(window: Buffer, from: number): number {
  let i = from
  while (classOf(window[i]) !== 0) i++
  return i
}

function isUuid(window: Buffer, at: number): boolean {
  const end = at + 36
  return classOf(window[end]) === 0 && UUID_V4.test(window.toString('latin1', at, end))
}
