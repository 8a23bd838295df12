import type { Recorder } from '../audit/record.ts'
import type { Clock } from '../clock.ts'
import { CoreError } from '../errors.ts'
import type { Keyring } from '../keys/keyring.ts'
import { unseal } from '../seal.ts'
import { digestOf, formatOf, previewOf } from '../secret.ts'
import type { Store } from '../store.ts'
import type { Token } from '../tokens/token.ts'
import { type BcryptTest, hintOf, matchesSlowHash, sha256Hex, sha256Text } from './foreign.ts'
import type { Shapes } from './shapes.ts'

/** Slow hashes at once, and how many may wait. */
const CONCURRENT = 2
const WAITING = 16
/** Attempts in a minute that cost a slow hash: for one beginning, for one address and it, for an address. */
const MAX_PER_HINT = 30
const MAX_PER_HINT_AND_ADDRESS = 10
const MAX_PER_ADDRESS = 60
const MINUTE_MS = 60_000

export interface ImportedSecrets {
  /** Whether an imported secret may be spelled like this, though none of ours is. */
  mayKnow(secret: string): boolean
  /**
   * The imported token whose secret this is, looked for where our own digest found nothing. Throws
   * `too_many_requests` when guesses cost too much.
   */
  find(secret: string, ip: string | undefined): Promise<Token | undefined>
  /** The same; a token that is found is found by our own digest from then on. */
  take(secret: string, ip: string | undefined): Promise<Token | undefined>
}

/** Finds tokens that were imported by a hash of their secret, at the first use of each. */
export function importedSecrets(deps: {
  store: Store
  keyring: Keyring
  clock: Clock
  audit: Recorder
  shapes: Shapes
  bcrypt: BcryptTest | undefined
}): ImportedSecrets {
  const { store, keyring, shapes } = deps
  const slot = slots()
  const attempts = attemptsPerMinute(deps.clock)

  async function find(secret: string, ip: string | undefined): Promise<Token | undefined> {
    return (await bySha256(secret)) ?? (await byHint(secret, ip))
  }

  async function bySha256(secret: string): Promise<Token | undefined> {
    if (!shapes.hasSha256()) return undefined
    const text = sha256Text(sha256Hex(secret))
    for (const pepper of keyring.peppers()) {
      const token = await store.tokens.byDigest(digestOf(text, pepper))
      if (token !== undefined) return token
    }
    return undefined
  }

  async function byHint(secret: string, ip: string | undefined): Promise<Token | undefined> {
    const key = keyring.derived('import')
    const hints = shapes
      .hintLengths()
      .filter((length) => length < secret.length)
      .map((length) => hintOf(key, secret.slice(0, length)))
    if (hints.length === 0) return undefined
    const found = await store.imports.hashesBy(hints)
    for (const { tokenId, sealed } of found) {
      const giveBack = attempts(hints[0] ?? '', ip)
      const hash = unseal(sealed, { key, context: tokenId })?.toString()
      if (hash === undefined) continue
      if (!(await slot(() => matchesSlowHash(secret, hash, deps.bcrypt)))) continue
      giveBack()
      return store.tokens.byId(tokenId)
    }
    return undefined
  }

  async function rekey(token: Token, secret: string): Promise<void> {
    const pepper = keyring.pepper()
    const to = {
      digest: digestOf(secret, pepper),
      pepperId: pepper.id,
      preview: previewOf(secret, formatOf(secret) ?? 'imported'),
    }
    await store.transaction(async (tx) => {
      if (!(await tx.imports.rekey(token.id, to))) return
      await tx.changes.append({ subject: 'token', id: token.id })
      await deps.audit(
        tx,
        { origin: { ip: undefined, requestId: undefined, via: 'system' } },
        { action: 'token.rekeyed', subjectType: 'token', subjectId: token.id },
      )
    })
  }

  return {
    mayKnow: shapes.mayKnow,
    find,
    async take(secret, ip) {
      const token = await find(secret, ip)
      // What cannot be written now is tried again at the next use; the answer does not hang on it.
      if (token !== undefined) await rekey(token, secret).catch(() => undefined)
      return token
    },
  }
}

/** Counts what costs a slow hash; returns the way to take an attempt back. */
function attemptsPerMinute(clock: Clock) {
  let minute = 0
  let counts = new Map<string, number>()
  return (hint: string, ip: string | undefined): (() => void) => {
    const now = Math.floor(clock.now() / MINUTE_MS)
    if (now !== minute) {
      minute = now
      counts = new Map()
    }
    const limits: [string, number][] = [
      [hint, MAX_PER_HINT],
      ...(ip === undefined
        ? []
        : ([
            [`${hint} ${ip}`, MAX_PER_HINT_AND_ADDRESS],
            [ip, MAX_PER_ADDRESS],
          ] as [string, number][])),
    ]
    if (limits.some(([key, most]) => (counts.get(key) ?? 0) >= most)) throw tooMany()
    const add = (change: number) => {
      for (const [key] of limits) counts.set(key, (counts.get(key) ?? 0) + change)
    }
    add(1)
    return () => add(-1)
  }
}

function slots() {
  let running = 0
  const queue: (() => void)[] = []
  return async <T>(task: () => Promise<T>): Promise<T> => {
    if (running < CONCURRENT) running++
    else {
      if (queue.length >= WAITING) throw tooMany()
      await new Promise<void>((resolve) => queue.push(resolve))
    }
    try {
      return await task()
    } finally {
      const next = queue.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

function tooMany(): CoreError {
  return new CoreError(
    'too_many_requests',
    'Too many first uses of imported tokens at once. Try again shortly.',
    { retryAfterSeconds: 30 },
  )
}
