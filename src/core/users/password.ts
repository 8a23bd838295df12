import { argon2, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { CoreError } from '../errors.ts'
import type { Random } from '../random.ts'
import { nameKey } from '../text.ts'

/** OWASP's floor for Argon2id: 19 MiB, two passes, one lane. */
const MEMORY_KIB = 19_456
const PASSES = 2
const LANES = 1
const SALT_BYTES = 16
const TAG_BYTES = 32

/** How many hashes run at once (each holds 19 MiB and a thread) at most, and how many may wait. */
const MOST_CONCURRENT = 2
const WAITING = 64
/** What the last hash counts in what the next is expected to take. */
const NEWEST_SHARE = 0.2
/** How long a login waits at most in all until its turn: whoever waits longer tries again anyhow. */
const PATIENCE_MS = 700

const MIN_LENGTH = 15
const MAX_LENGTH = 256

export interface PasswordHasher {
  /**
   * A place in line, for who asks the database first. Throws `too_many_requests` where the password would not be
   * looked at in time: then the attempt need not even be counted.
   */
  place(): Place
  /** PHC string `$argon2id$v=19$m=…`. Throws `too_many_requests` when the queue is full. */
  hash(password: string): Promise<string>
  /** Takes as long for an unknown user (`undefined`) as for a wrong password. */
  matches(password: string, hash: string | undefined, place?: Place): Promise<boolean>
  /** Whether a stored hash was made with weaker parameters than today's. */
  isOutdated(hash: string): boolean
}

/** Held until the password is looked at, or the one who holds it leaves. */
export interface Place {
  leave(): void
}

interface Parameters {
  memory: number
  passes: number
  parallelism: number
  salt: Buffer
  tag: Buffer
}

export interface HasherOptions {
  /** Less than `MEMORY_KIB` only where no strength is needed. */
  memoryKib?: number
  /** For how long whoever asks now has been waiting elsewhere, in milliseconds. */
  waitedMs?: (() => number) | undefined
  /** How many cores are for this process. */
  cores?: number | undefined
  /** To learn by how long hashes take; without it, nobody is refused for that. */
  clock?: Clock
}

/** Argon2id off the event loop, with a bounded queue so that logins cannot starve the rest. */
export function passwordHasher(
  random: Random,
  {
    memoryKib = MEMORY_KIB,
    waitedMs = () => 0,
    cores = 2 * MOST_CONCURRENT,
    clock,
  }: HasherOptions = {},
): PasswordHasher {
  // Half of the cores at most, so that logins leave one to all else.
  const concurrent = Math.max(1, Math.min(MOST_CONCURRENT, Math.floor(cores / 2)))
  const { slot, place } = limiter(concurrent, WAITING, clock)
  const decoy: Parameters = {
    memory: memoryKib,
    passes: PASSES,
    parallelism: LANES,
    salt: Buffer.alloc(SALT_BYTES, 7),
    tag: Buffer.alloc(TAG_BYTES),
  }

  return {
    place: () => place(PATIENCE_MS - waitedMs()),
    hash: (password) =>
      slot(PATIENCE_MS, async () => {
        const fresh = { ...decoy, salt: random(SALT_BYTES) }
        return encode({ ...fresh, tag: await derive(password, fresh) })
      }),
    matches(password, hash, place) {
      place?.leave()
      return slot(PATIENCE_MS - waitedMs(), async () => {
        const stored = hash === undefined ? undefined : decode(hash)
        const tag = await derive(password, stored ?? decoy)
        return stored !== undefined && timingSafeEqual(tag, stored.tag)
      })
    },
    isOutdated(hash) {
      const stored = decode(hash)
      return stored === undefined || stored.memory < memoryKib || stored.passes < PASSES
    },
  }
}

function derive(
  password: string,
  { memory, passes, parallelism, salt }: Parameters,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    argon2(
      'argon2id',
      {
        message: Buffer.from(password.normalize('NFKC')),
        nonce: salt,
        parallelism,
        tagLength: TAG_BYTES,
        memory,
        passes,
      },
      (error, tag) => (error ? reject(error) : resolve(Buffer.from(tag))),
    )
  })
}

function encode({ memory, passes, parallelism, salt, tag }: Parameters): string {
  const b64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${b64(salt)}$${b64(tag)}`
}

function decode(hash: string): Parameters | undefined {
  const parts = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([^$]+)\$([^$]+)$/.exec(hash)
  if (parts === null) return undefined
  const [, memory, passes, parallelism, salt = '', tag = ''] = parts
  return {
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    salt: Buffer.from(salt, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  }
}

function tooMany(): CoreError {
  return new CoreError('too_many_requests', 'Too many logins at once. Try again shortly.', {
    retryAfterSeconds: 2,
  })
}

/**
 * Runs at most `concurrent` tasks; lets `waiting` more queue, but not for long; refuses the rest, and at once whom
 * patience would fail: with what tasks have taken lately, that is known before.
 */
function limiter(concurrent: number, waiting: number, clock: Clock = { now: () => 0 }) {
  let running = 0
  let coming = 0
  let taskMs = 0
  const queue = new Set<() => void>()

  /** Throws `too_many_requests`. */
  function mustHaveRoom(patienceMs: number): void {
    const ahead = running + queue.size + coming
    const turns = Math.max(0, ahead - concurrent + 1) / concurrent
    if (queue.size + coming >= waiting || (turns > 0 && turns * taskMs >= patienceMs))
      throw tooMany()
  }

  /** Throws `too_many_requests`. */
  function place(patienceMs: number): Place {
    mustHaveRoom(patienceMs)
    let isHeld = true
    coming++
    return {
      leave() {
        if (isHeld) coming--
        isHeld = false
      },
    }
  }

  /** Throws `too_many_requests`. */
  async function wait(patienceMs: number): Promise<void> {
    if (queue.size >= waiting || patienceMs <= 0) throw tooMany()
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        queue.delete(proceed)
        reject(tooMany())
      }, patienceMs)
      const proceed = () => {
        clearTimeout(timer)
        resolve()
      }
      queue.add(proceed)
    })
  }

  async function slot<T>(patienceMs: number, task: () => Promise<T>): Promise<T> {
    if (running < concurrent) running++
    else await wait(patienceMs)
    const beganMs = clock.now()
    try {
      return await task()
    } finally {
      // No longer than anybody waits, should the clock have been set.
      const tookMs = Math.min(Math.max(0, clock.now() - beganMs), PATIENCE_MS)
      taskMs += (tookMs - taskMs) * NEWEST_SHARE
      // Handing the slot over, rather than freeing it, keeps newcomers from overtaking.
      const [next] = queue
      if (next === undefined) running--
      else {
        queue.delete(next)
        next()
      }
    }
  }

  return { slot, place }
}

/** Long enough to pass the length rule, and on every list of leaked passwords. */
const WELL_KNOWN = [
  'password',
  'passw0rd',
  'qwertyuiop',
  'asdfghjkl',
  'zxcvbnm',
  '1q2w3e4r5t',
  'letmein',
  'iloveyou',
  'administrator',
  'changeme',
  'welcome',
  'correcthorsebatterystaple',
  'thequickbrownfox',
  'mintmark',
  'secret',
  'admin',
  'dragon',
  'monkey',
  'football',
  'baseball',
  'superman',
]

/**
 * NIST SP 800-63B-4 §3.1.1.2 for a password that is the only factor: at least 15 characters, no rules
 * of composition, nothing that everybody tries. Throws `invalid_input`.
 */
export function checkNewPassword(password: string, user: { username: string }): void {
  const length = [...password].length
  if (length < MIN_LENGTH) {
    throw new CoreError(
      'invalid_input',
      `The password needs at least ${MIN_LENGTH} characters. A phrase of several words is good.`,
    )
  }
  if (password.length > MAX_LENGTH) {
    throw new CoreError('invalid_input', `The password may have at most ${MAX_LENGTH} characters.`)
  }
  if (isGuessable(nameKey(password), nameKey(user.username))) {
    throw new CoreError(
      'invalid_input',
      'This password is easy to guess. Choose words that do not belong together.',
    )
  }
}

/** What is left once the well-known parts, runs and repeats are taken out decides. */
function isGuessable(password: string, username: string): boolean {
  let rest = password
  for (const known of [username, ...WELL_KNOWN]) {
    if (known.length >= 4) rest = rest.replaceAll(known, '')
  }
  rest = rest.replace(/(.{1,6}?)\1+/gu, '$1')
  return rest.length < 8 || new Set(rest).size < 5 || isRun(rest)
}

function isRun(text: string): boolean {
  const steps = new Set<number>()
  for (let i = 1; i < text.length; i++) steps.add(text.charCodeAt(i) - text.charCodeAt(i - 1))
  return steps.size <= 2
}
