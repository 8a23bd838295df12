/** The head of a request, read from its bytes. */
export interface PlainHead {
  /** Path and query. */
  url: string
  /** Names, in lower case, and values in turn, as they came; without those that nobody wanted. */
  raw: string[]
  /** Where the body begins. */
  end: number
}

/** A longer head, or one of more lines, is left to Node, which has limits of its own. */
const MAX_HEAD_BYTES = 8192
const MAX_HEADERS = 100

const [TAB, LF, CR, SPACE, COLON] = [0x09, 0x0a, 0x0d, 0x20, 0x3a]
const START = Buffer.from('POST /')
const VERSION = Buffer.from(' HTTP/1.1\r\n')

/** By byte, whether it may stand in a target, a name, or the middle of a value. Far fewer than may. */
const TARGET = table(/[!-~]/)
const NAME = table(/[!#$%&'*+.^_`|~0-9A-Za-z-]/)
const VALUE = table(/[\t -~]/)

/** Those that say how the message or the connection goes on: only Node understands them. */
const FRAMING = ['transfer-encoding', 'upgrade', 'expect', 'te', 'trailer', 'proxy-connection']

/**
 * Reads a POST over HTTP/1.1 that any two parsers understand alike (RFC 9112, sections 2 to 6), on a
 * connection that is to be kept; gives undefined for everything else, of which there is much that is
 * good. `names`: the headers that are wanted, in lower case.
 */
export function plainHeads(names: Iterable<string>): (bytes: Buffer) => PlainHead | undefined {
  const wanted = new Set(names)
  const read = new Set([...wanted, ...FRAMING, 'host', 'connection'])
  const lengths = new Uint8Array(MAX_HEAD_BYTES)
  for (const { length } of read) lengths[length] = 1

  /** Whether the header leaves the request plain. */
  function take(name: string, value: string, raw: string[]): boolean {
    if (wanted.has(name)) raw.push(name, value)
    if (name === 'connection') return value.toLowerCase() === 'keep-alive'
    return !FRAMING.includes(name)
  }

  return (bytes) => {
    const limit = Math.min(bytes.length, MAX_HEAD_BYTES)
    if (!holds(bytes, START, 0)) return undefined
    const targetEnd = skip(bytes, TARGET, START.length, limit)
    if (!holds(bytes, VERSION, targetEnd)) return undefined
    const raw: string[] = []
    let hosts = 0
    let lines = 0
    let at = targetEnd + VERSION.length
    while (at < limit && bytes[at] !== CR) {
      if (++lines > MAX_HEADERS) return undefined
      const colon = skip(bytes, NAME, at, limit)
      if (colon === at || bytes[colon] !== COLON) return undefined
      const lineEnd = skip(bytes, VALUE, colon + 1, limit)
      if (bytes[lineEnd] !== CR || bytes[lineEnd + 1] !== LF) return undefined
      if (lengths[colon - at] === 1) {
        const name = bytes.toString('latin1', at, colon).toLowerCase()
        if (name === 'host') hosts++
        else if (read.has(name) && !take(name, trimmed(bytes, colon + 1, lineEnd), raw))
          return undefined
      }
      at = lineEnd + 2
    }
    if (hosts !== 1 || at + 2 > limit || bytes[at + 1] !== LF) return undefined
    return { url: bytes.toString('latin1', START.length - 1, targetEnd), raw, end: at + 2 }
  }
}

function table(characters: RegExp): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, i) => +characters.test(String.fromCharCode(i)))
}

function holds(bytes: Buffer, part: Buffer, from: number): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[from + i] !== part[i]) return false
  return true
}

/** Where the first byte is from `from` on that is not in `allowed`. */
function skip(bytes: Buffer, allowed: Uint8Array, from: number, limit: number): number {
  let at = from
  while (at < limit && allowed[bytes[at] ?? 0] === 1) at++
  return at
}

/** Without white space around it, a string of its own: nothing keeps the rest of the head. */
function trimmed(bytes: Buffer, from: number, to: number): string {
  let [start, end] = [from, to]
  while (start < end && isBlank(bytes[start])) start++
  while (end > start && isBlank(bytes[end - 1])) end--
  return bytes.toString('latin1', start, end)
}

function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB
}
